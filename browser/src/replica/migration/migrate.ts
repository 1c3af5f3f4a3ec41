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
import type { Host } from "../host.js";
import { addEvent } from "../identity/history.js";
import type { LocalDatabase } from "../storage/database.js";
import type { Program, TableMigration } from "../storage/program.js";
import { hasSameChecks, type Lineage, lineage } from "./lineage.js";
import { localChange } from "./localObjects.js";
import { Reshaping } from "./reshape.js";
import { Filling, type TableChange, hashAgain } from "./values.js";

/** A file on its way: as it was, and as the new program has it. */
export interface MigrationContext {
  readonly old: LocalDatabase;
  readonly database: LocalDatabase;
  readonly host: Host;
}

/** Return what leads from one program to the next. Throws `SchemaError`, which says what stands in the way. */
export function wayTo(from: Program, to: Program): Lineage {
  const way = lineage(from.json, to.json);
  const { generation = 1 } = to.json.schema;
  if (way.hindrances.length > 0)
    throw new SchemaError(
      `these steps to generation ${generation} cannot be made: ` +
        `${way.hindrances.map(({ text }) => text).join("; ")}. New tables can be added, new columns that ` +
        "are nullable or have a default, and looser checks; other steps are declared in the schema's " +
        "migrations; nothing was changed",
      "schema_mismatch",
    );
  const pieces = to.json.migration as Partial<typeof to.json.migration>;
  if (way.isDeclared && pieces.books === undefined)
    throw new SchemaError(
      "the program was made by an older version of the engine, which knows no declared steps: make it " +
        "with the version that the server has; nothing was changed",
      "program_format",
    );
  return way;
}

/**
 * Make the file one of the new program. Inside a write transaction in which foreign keys are not enforced,
 * with the log sealed. `capture`: the digest of the new triggers; `formats`: statements that the file's
 * format needs first. Throws `SchemaError`.
 */
export function migrate(
  { old, database, host }: MigrationContext,
  way: Lineage,
  capture: string,
  formats: readonly string[],
): void {
  const [db, from, to] = [database.connection, old.program, database.program];
  const local = localChange(from.json.local, to.json.local);
  removeOurs(db, from, to);
  formats.forEach((sql) => db.script(sql));
  local.drop(db);
  db.execute("UPDATE holdfast_state SET applying = 1");
  const { migration, schema } = to.json;
  const width = Math.max(...from.tables.map(({ columns }) => columns.length));
  for (const [name, sql] of Object.entries(migration.log))
    if (Number(name.slice(1)) >= width) db.script(sql);
  const reshaping = new Reshaping(old, database, way, host);
  const anew = reshaping.run();
  for (const table of to.tables) growTable(database, table, way, anew.has(table.name));
  reshaping.replay();
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
  if (from.json.fingerprint !== to.json.fingerprint) addEvent(database, host, "migrated");
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

/** Make a table that is new, or add what is new to one. `isAnew`: it was made anew, with its new columns, or
 * holds other rows now. */
function growTable(database: LocalDatabase, table: Table, way: Lineage, isAnew: boolean): void {
  const [db, to] = [database.connection, database.program];
  const { migration, schema } = to.json;
  const sql = migration.tables[table.name];
  if (sql === undefined) throw new SchemaError(`the program has no pieces of ${table.name}`);
  const known = way.tables.get(table.name);
  if (known === undefined) {
    sql.create.forEach((one) => db.script(one));
    return;
  }
  const { old, isReshaped } = known;
  const names = new Set(known.added.map(({ name }) => name));
  const added = table.dataColumns.flatMap(({ name }, at) => (names.has(name) ? [at] : []));
  if (!isReshaped)
    // Rows of a server that is newer still may pass none of our checks.
    database.unchecked(() => {
      if (!hasSameChecks(known)) rebuild(db, old, sql);
      for (const { name } of known.added) {
        for (const one of sql.columns[name]?.add ?? []) db.script(one);
        db.execute(migration.put_added, [table.name, name, BigInt(schema.generation ?? 1)]);
      }
    });
  const grown: TableChange = { table, sql, added };
  if (added.length > 0) new Filling(db, to, grown).run();
  if (added.length > 0 || isAnew) hashAgain(db, to, table);
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
