/** A browser's file of the format before, with all that waits in it, is read and goes on. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

import { afterEach, expect, test } from "vitest";

import { Replica } from "../../src/replica/replica.js";
import { PROGRAM_FORMAT, type ReplicaProgram } from "../../src/replica/storage/program.js";
import { openMemory, type Opened } from "../../src/sqlite/open.js";
import { HERE } from "../support/processes.js";
import { compiled } from "../support/program.js";

const schema = JSON.parse(
  readFileSync(join(HERE, "note.json"), "utf8"),
) as ReplicaProgram["schema"];
const grown = {
  ...schema,
  generation: 2,
  tables: schema.tables.map((table) => ({
    ...table,
    columns: [...table.columns, { name: "more", default: "" }],
  })),
};
let opened: Opened;

afterEach(() => opened.close());

/** As an earlier version left it: a row, an update of it that was sent and not answered, an insert
 * queued, and an update of that in the log. */
async function left(): Promise<Opened> {
  const packed = readFileSync(join(HERE, "..", "data", "replica_format_5.sql.gz"));
  opened = await openMemory();
  opened.connection.script(gunzipSync(packed).toString("utf8"));
  return opened;
}

test.each([
  ["the same schema", schema],
  ["a newer generation", grown],
])("format 5, under %s", async (_, wanted) => {
  const file = await left();
  const rows = (sql: string): unknown => file.connection.execute(sql);
  const replica = Replica.open({ opened: file, program: compiled(wanted), transport: null });
  expect(await replica.status()).toMatchObject({ pending: 2, sent: 1, device: "device-a" });
  expect(rows("SELECT id, text, n FROM note ORDER BY id")).toEqual([
    ["a", "synced", 4n],
    ["b", "in the log", 0n],
  ]);
  // Its server knows it by its device's name.
  expect(rows("SELECT format, replica, origin FROM holdfast_state")).toEqual([
    [BigInt(PROGRAM_FORMAT), "device-a", ""],
  ]);
  await replica.write([{ sql: "UPDATE note SET n = n + 5 WHERE id = 'b'" }]);
  await replica.seal();
  expect(rows("SELECT number, state, generation FROM holdfast_tx ORDER BY number")).toEqual([
    [2n, "sent", 1n],
    [3n, "pending", 1n],
    [4n, "pending", 1n],
    [5n, "pending", BigInt(wanted.generation ?? 1)],
  ]);
  expect(rows("SELECT count(DISTINCT id), min(length(id)) FROM holdfast_tx")).toEqual([[4n, 32n]]);
  // What it has now is what a new one has.
  const fresh = await openMemory();
  Replica.open({ opened: fresh, program: compiled(wanted), transport: null });
  const columns =
    'SELECT s.name, t.name, t.type, t."notnull", t.dflt_value, t.pk FROM sqlite_schema AS s, ' +
    "pragma_table_info(s.name) AS t WHERE s.type = 'table' ORDER BY s.name, t.name";
  expect(rows(columns)).toEqual(fresh.connection.execute(columns));
  const objects =
    "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name";
  expect(rows(objects)).toEqual(fresh.connection.execute(objects));
  fresh.close();
});

test("a program of today does not touch a file that it cannot finish", async () => {
  const file = await left();
  const before = Buffer.from(file.connection.serialize());
  const program = { ...compiled(schema) };
  const broken = { ...program, migration: { ...program.migration, formats: {} } };
  expect(() => Replica.open({ opened: file, program: broken, transport: null })).toThrow(
    expect.objectContaining({ code: "replica_format" }),
  );
  expect(Buffer.from(file.connection.serialize()).equals(before)).toBe(true);
});
