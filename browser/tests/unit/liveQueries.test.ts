import { expect, test, vi } from "vitest";

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

test("what a statement reads is remembered until the schema changes", async () => {
  const { connection, close } = await openMemory();
  connection.script(
    "CREATE TABLE one (a); CREATE TABLE two (a); CREATE VIEW v AS SELECT a FROM one",
  );
  const sql = "SELECT a FROM v";
  const tables = (): readonly string[] => [...connection.inspect(sql).tables].sort();
  expect(tables()).toEqual(["one", "v"]);
  expect(connection.inspect(sql)).toBe(connection.inspect(sql));
  connection.execute("DROP VIEW v");
  connection.execute("CREATE VIEW v AS SELECT a FROM two");
  expect(tables()).toEqual(["two", "v"]);
  expect(connection.inspect("DELETE FROM one").readOnly).toBe(false);
  close();
});

test("a listener that throws, and a query that fails later, are not in the way of others", async () => {
  const printed = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const { connection, close } = await openMemory();
  connection.script("CREATE TABLE t (n TEXT)");
  const live = new LiveQueries(connection);
  const told: unknown[] = [];
  let calls = 0;
  live.add("SELECT count(*) FROM t", [], () => {
    calls += 1;
    if (calls > 1) throw new Error("not today");
  });
  live.add("SELECT json_extract(n, '$.a') FROM t", [], () => undefined);
  live.add("SELECT count(*) FROM t", [], ({ rows }) => void told.push(rows[0]?.[0]));
  connection.execute("INSERT INTO t VALUES ('no json')");
  live.committed();
  expect(told).toEqual([0, 1]);
  expect(printed).toHaveBeenCalledTimes(2);
  printed.mockRestore();
  close();
});
