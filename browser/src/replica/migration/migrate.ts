/**
 * A replica's file of an older generation becomes one of the program's, with all that waits in it.
 *
 * Knows: the pieces of SQL that the program has for it, and what differs between two schemas. Must not
 * know: how the log is sealed, or who opens the file. Inside one write transaction: what fails, or is
 * killed, has changed nothing.
 */

import { SchemaError } from "../../core/errors.js";
import type { Table } from "../../core/schema.js";
import type { Connection } from "../../sqlite/connection.js";
import type { Program, TableMigration } from "../storage/program.js";
import { hindrances, sameJson } from "./growth.js";
import { localChange } from "./localObjects.js";
import { Filling, type TableChange, hashAgain } from "./values.js";

/**
 * Make the file one of `to`. Inside a write transaction in which foreign keys are not enforced, with the
 * log sealed. `formats`: statements that the file's format needs first. Throws `SchemaError`, which says
 * what stands in the way.
 */
export function migrate(
  db: Connection,
  from: Program,
  to: Program,
  capture: string,
  formats: readonly string[],
): void {
  const found = hindrances(from.json.schema, to.json.schema);
  if (found.length > 0)
    throw new SchemaError(
      `the replica cannot grow into this schema: ${found.join("; ")}. New tables can be added, new columns ` +
        "that are nullable or have a default, and looser checks; nothing was changed",
      "schema_mismatch",
    );
  const local = localChange(from.json.local, to.json.local);
  removeOurs(db, from, to);
  formats.forEach((sql) => db.script(sql));
  local.drop(db);
  db.execute("UPDATE holdfast_state SET applying = 1");
  const { migration, schema } = to.json;
  const width = Math.max(...from.tables.map(({ columns }) => columns.length));
  for (const [name, sql] of Object.entries(migration.log))
    if (Number(name.slice(1)) >= width) db.script(sql);
  for (const table of to.tables) {
    const sql = migration.tables[table.name];
    if (sql === undefined) throw new SchemaError(`the program has no pieces of ${table.name}`);
    const old = from.byName.get(table.name);
    if (old === undefined) sql.create.forEach((one) => db.script(one));
    else growTable(db, from, to, { old, table, sql, added: addedTo(old, table) });
  }
  local.make(db, to);
  db.execute("UPDATE holdfast_state SET applying = 0");
  const { triggers, views } = to.json;
  for (const sql of [...Object.values(triggers), ...Object.values(views)]) db.script(sql);
  db.execute(migration.set_schema, [
    to.json.fingerprint,
    JSON.stringify(schema),
    BigInt(schema.generation ?? 1),
    capture,
  ]);
}

function addedTo(old: Table, table: Table): number[] {
  return table.dataColumns.flatMap(({ name }, at) => (old.byName.has(name) ? [] : [at]));
}

/** Triggers and views of the engine: they are made anew at the end. */
function removeOurs(db: Connection, from: Program, to: Program): void {
  const triggers = db.execute(
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'holdfast_*'",
  );
  for (const [name] of triggers) db.script(`DROP TRIGGER ${quoted(String(name))}`);
  for (const name of new Set([...Object.keys(from.json.views), ...Object.keys(to.json.views)]))
    db.script(`DROP VIEW IF EXISTS ${quoted(name)}`);
}

function growTable(db: Connection, from: Program, to: Program, grown: TableChange): void {
  const { old, table, sql, added } = grown;
  if (!sameChecks(from, to, old)) rebuild(db, old, sql);
  if (added.length === 0) return;
  const { migration, schema } = to.json;
  for (const at of added) {
    const { name } = table.dataColumns[at] as { readonly name: string };
    for (const one of sql.columns[name]?.add ?? []) db.script(one);
    db.execute(migration.put_added, [table.name, name, BigInt(schema.generation ?? 1)]);
  }
  new Filling(db, to, grown).run();
  hashAgain(db, to, table);
}

/** Whether the checks on the columns that the file has are those that the program wants. */
function sameChecks(from: Program, to: Program, old: Table): boolean {
  const checks = ({ json }: Program): unknown => {
    const found = json.schema.tables.find(({ name }) => name === old.name)?.checks ?? [];
    return found.filter(({ column }) => old.byName.has(column));
  };
  return sameJson(checks(from), checks(to));
}

/** The table made anew, with the columns that it has and the checks that the program wants; what others
 * have made on it stays. */
function rebuild(db: Connection, old: Table, sql: TableMigration): void {
  const own = quoted(old.name);
  const fresh = quoted(`holdfast_fresh_${old.name}`);
  const columns = db
    .execute("SELECT name FROM pragma_table_xinfo(?)", [old.name])
    .map(([name]) => String(name));
  const strange = columns.find((name) => sql.definitions[name] === undefined);
  if (strange !== undefined)
    throw new SchemaError(
      `table ${old.name} has a column of somebody else, ${strange}, which would be lost with a looser ` +
        "check: move it to a table of its own; nothing was changed",
      "schema_mismatch",
    );
  const attached = db.execute(
    "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL",
    [old.name],
  );
  const lines = [
    ...columns.flatMap((name) => sql.definitions[name] ?? []),
    ...sql.keys,
    ...sql.checks.filter(({ column }) => old.byName.has(column)).map((one) => one.sql),
  ];
  const list = columns.map(quoted).join(", ");
  db.script(`CREATE TABLE ${fresh} (${lines.join(", ")}) STRICT`);
  db.script(`INSERT INTO ${fresh} (rowid, ${list}) SELECT rowid, ${list} FROM ${own}`);
  db.script(`DROP TABLE ${own}`);
  db.script(`ALTER TABLE ${fresh} RENAME TO ${own}`);
  for (const [text] of attached) db.script(String(text));
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
