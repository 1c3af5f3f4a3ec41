/**
 * The declared steps of a migration: tables of a file that get another shape, or go, with all work.
 *
 * Knows: the old program and the new one, and what has become of each table and column. Must not know:
 * additive steps, local objects, or who opens the file. All is within the caller's write transaction, with
 * capture quiet and no trigger or view of the engine's in the file.
 *
 *     the table     made anew from the server's rows: the work on them is taken off first
 *     the work      noted changes, shadows and conflicts under the new names, values converted
 *     what is gone  what somebody wrote there goes to the inbox, with its value
 *     the rest      is replayed when all tables stand: what does not fit any more is set aside
 *
 * Rows that do not fit the new shape (the server has changed them meanwhile) are left out; the digests say
 * so, and they come with the next answer or its verification.
 *
 * Upholds I4, I15, I16 and I32.
 */

import { Digest } from "../../core/digest.js";
import { BadValue, DatabaseError, SchemaError } from "../../core/errors.js";
import { transactionId } from "../../core/ids.js";
import { type Row, rowKey } from "../../core/keys.js";
import type { Column, Table } from "../../core/schema.js";
import { check, toWire, type Value } from "../../core/values.js";
import { firstHash } from "../../protocol/firstSent.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import { sentMessages } from "../changes/outbox.js";
import type { Host } from "../host.js";
import { assemble, defaultsOf, differs, Overlay } from "../rebase/overlay.js";
import { Replay } from "../rebase/replay.js";
import type { LocalDatabase } from "../storage/database.js";
import type { Program } from "../storage/program.js";
import { conflictOf, concerns } from "./conflicts.js";
import { renamedBases, translateKept } from "./keptWork.js";
import { type Lineage, namesDiffer, type TableLineage } from "./lineage.js";
import {
  listed,
  quoted,
  reshapedTable,
  reshapedValue,
  type ReshapingColumns,
} from "./reshapedSql.js";

const NOTE = ["tx", "key", "was", "now", "base", "bases"];
const CONFLICTS = "holdfast_conflict";
const NOTHING: ReadonlySet<number> = new Set();

/** Parts of a table that is being made anew. */
interface Kept {
  readonly made: string;
  readonly objects: readonly string[];
  readonly notes: readonly Row[];
  /** Keys of rows with work on them, and whether the server has the row. */
  readonly worked: Map<string, boolean>;
}

/** The declared steps of one file. `old`: the file as it was; `database`: as the new program has it. */
export class Reshaping {
  readonly #old: LocalDatabase;
  readonly #database: LocalDatabase;
  readonly #db: Connection;
  readonly #before: Program;
  readonly #program: Program;
  readonly #way: Lineage;
  readonly #host: Host;
  /** By new table, the keys of rows that are replayed. */
  readonly #worked = new Map<string, ReadonlySet<string>>();

  constructor(old: LocalDatabase, database: LocalDatabase, way: Lineage, host: Host) {
    this.#old = old;
    this.#database = database;
    this.#db = database.connection;
    this.#before = old.program;
    this.#program = database.program;
    this.#way = way;
    this.#host = host;
  }

  get #reshaped(): TableLineage[] {
    return [...this.#way.tables.values()].filter(({ isReshaped }) => isReshaped);
  }

  /** Take the declared steps. Return the names of the tables whose rows are to be hashed anew: those that
   * were made anew, which have their new columns with their defaults, and that of conflicts. */
  run(): Set<string> {
    if (!this.#way.isDeclared) return new Set();
    const { gone } = this.#program.bookkeeping;
    for (const message of sentMessages(this.#old, gone.sent))
      this.#db.execute(gone.set_first, [firstHash(message), BigInt(message.number)]);
    translateKept(this.#db, this.#program.bookkeeping, this.#way, {
      visible: ({ old }, key) => this.#overlay(old, this.#before).visible(key),
      reshape: (lineage, key, data) => this.#image(lineage, key, data, true),
    });
    const kept = this.#reshaped.map((one, at) => [one, this.#make(one, at)] as const);
    const changed = this.#conflicts();
    for (const table of this.#way.gone) {
      this.#inbox(table, this.#notes(table), null);
      this.#forget(table.name, null);
    }
    for (const { name } of [...this.#way.gone, ...this.#reshaped.map(({ old }) => old)])
      for (const part of [name, `holdfast_change_${name}`, `holdfast_shadow_${name}`])
        this.#db.script(`DROP TABLE ${quoted(part)}`);
    this.#renameBooks();
    for (const [one, parts] of kept) this.#put(one, parts);
    const generation = BigInt(this.#program.json.schema.generation ?? 1);
    for (const { table, added } of this.#reshaped)
      for (const { name } of added)
        this.#db.execute(this.#program.json.migration.put_added, [table.name, name, generation]);
    const anew = this.#reshaped.map(({ table }) => table.name);
    return new Set(changed ? [...anew, CONFLICTS] : anew);
  }

  /** Show the work again on the rows of tables that were made anew, as far as it fits. */
  replay(): void {
    if (![...this.#worked.values()].some(({ size }) => size > 0)) return;
    const overlays = new Map(
      this.#program.tables.map((table) => [table.name, this.#overlay(table)] as const),
    );
    const none = new Map([...overlays.keys()].map((name) => [name, new Set<string>()] as const));
    new Replay(this.#database, overlays).run(new Map([...none, ...this.#worked]), none);
  }

  #overlay(table: Table, program = this.#program): Overlay {
    return new Overlay(this.#db, table, program.statements(table));
  }

  #shapes(table: Table): ReshapingColumns {
    return this.#program.json.migration.tables[table.name]?.shapes ?? {};
  }

  // --- tables -----------------------------------------------------------------------------------

  /** Make the new table under a name of its own, with the server's rows. */
  #make(lineage: TableLineage, number: number): Kept {
    const { old, table } = lineage;
    const { migration } = this.#program.json;
    const objects = this.#db.execute(migration.attached, [old.name]).map(([sql]) => String(sql));
    const kept: Kept = {
      made: `holdfast_made_${number}`,
      objects,
      notes: this.#notes(old),
      worked: new Map(),
    };
    const sql = this.#before.statements(old);
    const overlay = this.#overlay(old, this.#before);
    for (const asked of [sql.unsettled_keys, sql.shadow_keys])
      for (const [key] of this.#db.execute(asked)) kept.worked.set(String(key), false);
    const truths = [...kept.worked.keys()].map(
      (key) => [key, overlay.truth(key, NOTHING)] as const,
    );
    this.#database.unchecked(() => {
      for (const [key] of truths) overlay.write(key, null);
      for (const [key, row] of truths) {
        if (row === null) continue;
        overlay.write(key, row);
        kept.worked.set(key, true);
      }
    });
    const [create = ""] = migration.tables[table.name]?.create ?? [];
    const head = `CREATE TABLE IF NOT EXISTS ${quoted(table.name)} `;
    if (!create.startsWith(head))
      throw new SchemaError(`the program does not say how ${table.name} is made`);
    this.#db.script(`CREATE TABLE ${kept.made} ${create.slice(head.length)}`);
    const columns = listed(table.columns.map(({ name }) => name));
    const rows = reshapedTable(lineage, this.#shapes(table));
    this.#database.unchecked(() => {
      this.#db.execute(`INSERT OR IGNORE INTO ${kept.made} (${columns}) ${rows}`);
    });
    return kept;
  }

  /** Give the new table its name, and what belongs to it. */
  #put(lineage: TableLineage, { made, objects, notes, worked }: Kept): void {
    const { table } = lineage;
    this.#db.script(`ALTER TABLE ${made} RENAME TO ${quoted(table.name)}`);
    for (const sql of this.#program.json.migration.tables[table.name]?.create ?? [])
      this.#db.script(sql);
    for (const sql of objects)
      try {
        this.#db.script(sql);
      } catch (error) {
        if (!(error instanceof DatabaseError)) throw error; // it was about what is no longer there
      }
    this.#leaveOut(table);
    this.#putNotes(lineage, notes);
    const overlay = this.#overlay(table);
    for (const [key, isThere] of worked)
      overlay.putShadow(key, isThere ? overlay.visible(key) : null);
    this.#worked.set(table.name, new Set(worked.keys()));
  }

  /** Forget what is known of rows that did not fit. */
  #leaveOut(table: Table): void {
    const all = this.#db.execute(this.#program.statements(table).all_rows);
    const there = new Set(all.map((row) => rowKey(table, row)));
    const members = this.#db.execute(this.#program.bookkeeping.members.of_table, [table.name]);
    const missing = members.map(([, key]) => String(key)).filter((key) => !there.has(key));
    if (missing.length > 0) this.#forget(table.name, new Set(missing));
  }

  /** Let rows (null: all) of a table leave their scopes' digests. */
  #forget(table: string, keys: ReadonlySet<string> | null): void {
    const { members, scopes, rows } = this.#program.bookkeeping;
    const gone = new Map<string, Uint8Array[]>();
    for (const [scope, key, hash] of this.#db.execute(members.of_table, [table])) {
      if (keys !== null && !keys.has(String(key))) continue;
      const hashes = gone.get(String(scope)) ?? [];
      gone.set(String(scope), hashes);
      hashes.push(hash instanceof Uint8Array ? hash : new Uint8Array());
    }
    for (const [scope, , count, text] of this.#db.execute(scopes.digests)) {
      const hashes = gone.get(String(scope));
      if (hashes === undefined) continue;
      const digest = Digest.of(whole(count), String(text)).replace(hashes, []);
      this.#db.execute(scopes.set_digest, [BigInt(digest.count), digest.hex, scope ?? null]);
    }
    if (keys === null) {
      for (const book of this.#program.json.migration.books)
        this.#db.execute(["DELETE FROM", book, "WHERE tbl = ?"].join(" "), [table]);
      return;
    }
    for (const key of keys) {
      this.#db.execute(members.remove_row, [table, key]);
      this.#db.execute(rows.remove, [table, key]);
    }
  }

  /** Give what is kept by the names of tables and columns the new ones. */
  #renameBooks(): void {
    const { migration } = this.#program.json;
    const moved = this.#reshaped.filter(({ old, table }) => old.name !== table.name);
    const steps = [
      ...moved.map(({ old, table }) => [old.name, `:${table.name}`]), // two may swap their names
      ...moved.map(({ table }) => [`:${table.name}`, table.name]),
    ];
    for (const [was = "", now = ""] of steps)
      for (const book of migration.books)
        this.#db.execute(["UPDATE", book, "SET tbl = ?2 WHERE tbl = ?1"].join(" "), [was, now]);
    for (const one of this.#reshaped.filter(namesDiffer)) {
      const { name } = one.table;
      const came = this.#db.execute(migration.added_of, [name]);
      for (const [column = null] of came) this.#db.execute(migration.drop_added, [name, column]);
      for (const [column, since = null] of came) {
        const now = one.renamed.get(String(column));
        if (now !== undefined) this.#db.execute(migration.put_added, [name, now, since]);
      }
    }
  }

  // --- work -------------------------------------------------------------------------------------

  /** The noted changes of a table, in the order in which they were noted. */
  #notes({ name, dataColumns }: Table): Row[] {
    const values = ["o", "n"].flatMap((side) => dataColumns.map((one) => `${side}_${one.name}`));
    const columns = listed([...NOTE, ...values]);
    return this.#db.execute(`SELECT ${columns} FROM holdfast_change_${name} ORDER BY tx, rowid`);
  }

  /** Note the changes of the old table as ones of the new; what is gone goes to the inbox. */
  #putNotes(lineage: TableLineage, notes: readonly Row[]): void {
    const { old, table, gone } = lineage;
    const width = old.dataColumns.length;
    this.#inbox(old, notes, gone);
    for (const note of notes) {
      const [, key, was, now, , bases] = note;
      const sides = [was, now].map((isThere, side) => {
        const at = NOTE.length + side * width;
        const data = note.slice(at, at + width);
        return this.#image(lineage, String(key), data, isThere === 1n);
      });
      const [before = [], after = []] = sides;
      const isSame = table.dataColumns.every((_, at) => !differs(table, before, after, at));
      if (was === 1n && now === 1n && gone.length > 0 && isSame) continue; // what it changed is gone
      const row = [...note.slice(0, 5), notedBases(lineage, bases ?? null), ...before, ...after];
      this.#db.execute(this.#program.statements(table).put_change, row);
    }
  }

  #image(lineage: TableLineage, key: string, data: Row, isThere: boolean): Row {
    const { old, table } = lineage;
    if (!isThere) return table.dataColumns.map(() => null);
    const row = assembledAnyway(old, key, data);
    const [made = []] = this.#db.execute(reshapedValue(lineage, this.#shapes(table)), row);
    return table.dataPositions.map((at) => made[at] ?? null);
  }

  /** Make of conflicts what they are now, with the work on them. Return whether there were any. */
  #conflicts(): boolean {
    const table = this.#program.byName.get(CONFLICTS);
    const sql = this.#program.json.migration.tables[CONFLICTS];
    if (table === undefined || sql === undefined) return false;
    const concerned = concerns(this.#way);
    const place = table.positions.get("table_name") ?? -1;
    const now = (row: Row): Row =>
      concerned.has(String(row[place])) ? conflictOf(this.#way, table, row) : row;
    const overlay = this.#overlay(table);
    let isChanged = false;
    for (const row of this.#db.execute(this.#program.statements(table).all_rows)) {
      if (!concerned.has(String(row[place]))) continue;
      overlay.write(rowKey(table, row), now(row));
      isChanged = true;
    }
    for (const [key, ...data] of this.#db.execute(sql.shadows))
      overlay.putShadow(String(key), now(assemble(table, String(key), data)));
    const width = table.dataColumns.length;
    for (const note of this.#notes(table)) {
      const [tx = null, key = null, was, there] = note;
      const images = [was, there].flatMap((isThere, side) => {
        const at = NOTE.length + side * width;
        const image = note.slice(at, at + width);
        if (isThere !== 1n) return image;
        const row = now(assemble(table, String(key), image));
        return table.dataPositions.map((position) => row[position] ?? null);
      });
      this.#db.execute(sql.set_images, [...images, key, tx]);
    }
    return isChanged;
  }

  // --- what is gone -----------------------------------------------------------------------------

  /** Put what was written into columns that are gone (null: into all) into the inbox, but for what the
   * server has acknowledged. */
  #inbox(table: Table, notes: readonly Row[], columns: readonly Column[] | null): void {
    const { dataColumns } = table;
    const wanted = new Set((columns ?? dataColumns).map(({ name }) => name));
    if (notes.length === 0 || wanted.size === 0) return;
    const acked = this.#db.execute(this.#program.bookkeeping.gone.acked);
    const taken = new Set(acked.map(([number]) => number));
    const [width, start] = [dataColumns.length, defaultsOf(table)];
    for (const note of notes) {
      const [tx, key, was, now] = note;
      if (taken.has(tx ?? null) || now !== 1n) continue;
      const old = was === 1n ? note.slice(NOTE.length, NOTE.length + width) : start;
      const fresh = note.slice(NOTE.length + width);
      dataColumns.forEach((column, at) => {
        if (wanted.has(column.name) && differs(table, old, fresh, at))
          this.#gone(columns === null, table, String(key), column, fresh[at] ?? null);
      });
    }
  }

  #gone(isTable: boolean, table: Table, key: string, column: Column, value: Value): void {
    const { gone } = this.#program.bookkeeping;
    const code = isTable ? "table_gone" : "column_gone";
    const what = isTable ? `table ${table.name}` : `${table.name}.${column.name}`;
    const told = jsonOf(column, value);
    const at = BigInt(this.#host.nowUs());
    this.#db.execute(gone.put, [at, table.name, key, column.name, told]);
    const message = `${what} is gone with a new version of the app; ${column.name} was to be ${told}`;
    const id = transactionId(this.#host.randomBytes);
    this.#db.execute(gone.show, [id, at, code, message, column.name]);
  }
}

/** A value as JSON; what could not be sent says nothing. */
function jsonOf({ type, scale }: Column, value: Value): string {
  try {
    return JSON.stringify(toWire(type, check(type, value, scale)));
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    return "null";
  }
}

/** A whole row; without its key, when that cannot be read. */
function assembledAnyway(table: Table, key: string, data: Row): Row {
  try {
    return assemble(table, key, data);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    const values = [...table.key.map(() => null), ...data];
    return table.assembled.map((position) => values[position] ?? null);
  }
}

/** The base revisions of columns, as a note has them, under their new names. */
function notedBases(lineage: TableLineage, bases: Value): Value {
  if (typeof bases !== "string") return bases;
  return JSON.stringify(renamedBases(lineage, JSON.parse(bases) as Record<string, number>));
}
