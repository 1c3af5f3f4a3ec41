import { expect, test } from "vitest";

import { LiveQueries } from "../../src/replica/liveQueries.js";
import { openMemory } from "../../src/sqlite/open.js";

test.each([
  ["a table with row ids", "CREATE TABLE t (a TEXT PRIMARY KEY, n INTEGER) STRICT"],
  ["a table without", "CREATE TABLE t (a TEXT PRIMARY KEY, n INTEGER) STRICT, WITHOUT ROWID"],
  ["an index of texts", "CREATE VIRTUAL TABLE t USING fts5(a, n)"],
])("a change is told of, also when only a trigger writes it: %s", async (_, create) => {
  const { connection, close } = await openMemory();
  connection.script(create);
  connection.script("CREATE TABLE source (n INTEGER)");
  connection.script(
    "CREATE TRIGGER follow AFTER INSERT ON source BEGIN INSERT INTO t (a, n) VALUES ('x', NEW.n); END",
  );
  const live = new LiveQueries(connection);
  const told: unknown[] = [];
  live.add("SELECT count(*) FROM t", [], ({ rows }) => void told.push(rows[0]?.[0]));
  connection.execute("INSERT INTO source VALUES (1)");
  live.committed();
  live.committed();
  expect(told).toEqual([0, 1]);
  close();
});
