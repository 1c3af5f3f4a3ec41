/**
 * Importing snapshot files into a replica, set by set, inside the transaction of their answer.
 *
 * Knows: checked files that are attached to the connection, and the program's statements for them. Must
 * not know: how the files came, or messages. The twin of `replica/load/importFiles.py`.
 *
 * Rows that meet nothing are copied by one statement a table: into the table, the revisions and the
 * members. A row that meets something is sorted out first, with joins:
 *
 * - the replica holds the same revision: at most its membership is new;
 * - it holds a higher one: left alone; the answer, which starts at the file's position, has it;
 * - it holds a lower one, has work of its own on it, or another row stands on a unique value of it:
 *   written like a row of an answer, one by one;
 * - the scope had members that the file does not have: they leave.
 *
 * Two files may be of different moments, and so may disagree about who has a unique value. A row that
 * had to make room, and that nobody mentions afterwards, comes back at the end (`settle`).
 *
 * Upholds I12, I14, I15, I16 (it is all one transaction), I24 and I32. It goes in steps, and says after
 * each how many rows are in: so whoever drives it can breathe, and tell.
 */

import { Digest, sumOf } from "../../core/digest.js";
import { ConstraintFailed, FileRefused } from "../../core/errors.js";
import { byCodePoint, type Row } from "../../core/keys.js";
import { INTEGER_MIN } from "../../core/limits.js";
import type { Table } from "../../core/schema.js";
import type { Value } from "../../core/values.js";
import type { LoadProgram } from "../../protocol/program.generated.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { FileStore } from "../../sqlite/fileStore.js";
import type { Members, Truth } from "../storage/members.js";
import type { Program } from "../storage/program.js";
import type { SnapshotFile } from "./snapshotFile.js";

/** What the program calls the table of a file that is imported: its rowid, then its columns. */
const LOADING = "temp.holdfast_loading";

/** Writer of server truth, row by row; it knows the overlay. */
export interface TruthWriter {
  /** Keys with work of this device on them, unsettled or being settled now. */
  touched(table: Table): ReadonlySet<string>;
  /** Return whether a row is written again at the end, with the work that stands on it. */
  pending(table: Table, key: string): boolean;
  /** Server truth of rows, each key once. */
  put(table: Table, rows: readonly Truth[]): void;
  /** The row is in none of our scopes any more. */
  leave(table: Table, key: string): void;
  /** Other rows that hold a unique value of this one: key and visible values. */
  standing(table: Table, row: Row): readonly (readonly [string, Row | null])[];
  visible(table: Table, key: string): Row | null;
}

/** A file, and what it is called in SQL. */
export interface AttachedFile {
  readonly file: SnapshotFile;
  readonly alias: string;
}

/** Attach files. Not inside a transaction: they could not go. */
export function attach(
  db: Connection,
  keep: FileStore,
  files: readonly SnapshotFile[],
): AttachedFile[] {
  const attached: AttachedFile[] = [];
  // What they are made of has been looked at; see what is damaged since.
  if (files.length > 0) db.execute("PRAGMA cell_size_check = 1");
  try {
    for (const [at, file] of files.entries()) {
      const alias = `holdfast_file_${at}`;
      keep.attach(db, file.name, alias);
      attached.push({ file, alias });
    }
  } catch (error) {
    detach(db, attached);
    throw error;
  }
  return attached;
}

export function detach(db: Connection, files: readonly AttachedFile[]): void {
  for (const { alias } of files) db.execute(`DETACH ${alias}`);
}

/** Imports files, one after the other, within one application of news. */
export class Importer {
  readonly #db: Connection;
  readonly #program: Program;
  readonly #members: Members;
  readonly #truth: TruthWriter;
  #rows = 0;
  readonly #displaced = new Map<string, { table: Table; key: string; row: Row }>();

  constructor(db: Connection, program: Program, members: Members, truth: TruthWriter) {
    this.#db = db;
    this.#program = program;
    this.#members = members;
    this.#truth = truth;
  }

  /** Take in one file; yields how many rows are in. Throws `FileRefused` when one does not fit. */
  *run({ file, alias }: AttachedFile): Generator<number, void> {
    const known = this.#members.holds(file.scope);
    const { tables } = this.#program;
    const plain: Copy[] = [];
    for (const table of tables) {
      const sql = this.#program.statements(table).load;
      const copy = new Copy(this.#db, table, sql, file.scope, alias);
      try {
        copy.show();
        if (yield* this.#table(copy, known)) plain.push(copy);
        copy.hide();
      } catch (error) {
        if (!(error instanceof ConstraintFailed)) throw error;
        throw new FileRefused(`a row of ${table.name} does not fit: ${error.message}`);
      }
    }
    if (plain.length === tables.length) {
      // These are all its rows, and their sum has been checked.
      const whole = Digest.of(file.position.count, file.position.digest);
      this.#members.addSum(file.scope, whole.count, whole.total);
    } else
      for (const copy of plain) {
        copy.show();
        yield* this.#sumUp(copy, true);
        copy.hide();
      }
  }

  /** Bring back what had to make room and was not mentioned again. After the answer's rows. */
  settle(): void {
    for (const { table, key, row } of this.#displaced.values()) {
      if (this.#truth.visible(table, key) !== null) continue;
      const [held] = this.#db.execute(this.#program.bookkeeping.rows.revision, [table.name, key]);
      if (held !== undefined) this.#truth.put(table, [{ key, rev: whole(held[0]), row }]);
    }
    this.#displaced.clear();
  }

  /** One table of a file; whether it met nothing. */
  *#table(copy: Copy, known: boolean): Generator<number, boolean> {
    const { table } = copy;
    const touched = [...this.#truth.touched(table)].sort(byCodePoint);
    if (!known && touched.length === 0 && copy.findsNothing()) {
      const triggers = copy.unwatched(this.#program.bookkeeping.state.capture_of);
      yield* this.#copied(copy, true);
      // As they were, before anybody else can write.
      for (const sql of triggers) this.#db.script(sql);
      return true;
    }
    for (const sql of this.#program.json.load_begin) this.#db.execute(sql);
    copy.sortOut(touched);
    if (known)
      for (const key of copy.departed())
        if (this.#members.part(copy.scope, table, key)) this.#truth.leave(table, key);
    copy.sortByUnique();
    yield* this.#sumUp(copy, false);
    const before = this.#rows;
    yield* this.#copied(copy, false);
    for (const rows of copy.written()) {
      this.#write(table, rows);
      yield this.took(rows.length);
    }
    yield this.took(copy.rows - (this.#rows - before)); // there was nothing to do for the rest
    for (const sql of this.#program.json.load_end) this.#db.execute(sql);
    return false;
  }

  *#copied(copy: Copy, all: boolean): Generator<number, void> {
    for (const rows of copy.copy(all)) yield this.took(rows);
  }

  #write(table: Table, rows: readonly Truth[]): void {
    if (table.unique.length > 0)
      for (const { key, row } of rows)
        for (const [other, values] of this.#truth.standing(table, row))
          if (other !== key && values !== null && !this.#truth.pending(table, other))
            this.#displaced.set(`${table.name} ${other}`, { table, key: other, row: values });
    this.#truth.put(table, rows);
  }

  /** Add the hashes of the rows that become members to the digest of their scope. */
  *#sumUp(copy: Copy, all: boolean): Generator<number, void> {
    for (const [count, total] of copy.sums(all)) {
      this.#members.addSum(copy.scope, count, total);
      yield this.#rows;
    }
  }

  /** So many more rows of files are in: each is counted once, however it came in. How many are. */
  took(rows: number): number {
    this.#rows += rows;
    return this.#rows;
  }
}

/** The statements that copy one table of one file. */
class Copy {
  /** How many rows of the file have been gone through to be copied. */
  rows = 0;
  readonly #db: Connection;
  readonly #sql: LoadProgram;
  readonly table: Table;
  readonly scope: string;
  readonly #alias: string;

  constructor(db: Connection, table: Table, sql: LoadProgram, scope: string, alias: string) {
    this.#alias = alias;
    this.#db = db;
    this.#sql = sql;
    this.table = table;
    this.scope = scope;
  }

  /** Show the statements this table of this file. */
  show(): void {
    this.#db.execute(
      `CREATE VIEW ${LOADING} AS SELECT _rowid_ AS holdfast_n, * FROM ${this.#alias}."${this.table.name}"`,
    );
  }

  /** They are done with it. What fails before undoes all. */
  hide(): void {
    this.#db.execute(`DROP VIEW ${LOADING}`);
  }

  /** Return whether the replica has no row of this table, neither shown nor known. */
  findsNothing(): boolean {
    return this.#db.execute(this.#sql.is_held)[0]?.[0] === 0n;
  }

  /** Take away the capture triggers of the table, which would be asked twice for each row and keep
   * quiet; what makes them again. */
  unwatched(captureOf: string): string[] {
    const found = this.#db.execute(captureOf, [this.table.name]);
    for (const [name] of found) this.#db.script(`DROP TRIGGER main."${String(name)}"`);
    return found.map(([, sql]) => String(sql));
  }

  /** Copy the rows that meet nothing, in the order of their keys; how many a step brought. */
  *copy(all: boolean): Generator<number, void> {
    const [rowsSql = "", revsSql = "", membersSql = ""] = all
      ? this.#sql.copy
      : this.#sql.copy_rest;
    for (const [first, last, rows] of this.#steps()) {
      this.#db.execute(rowsSql, [first, last]);
      const copied = all ? rows : this.#db.changes();
      this.rows += rows;
      this.#db.execute(revsSql, [first, last]);
      this.#db.execute(membersSql, [first, last, this.scope]);
      yield copied;
    }
  }

  /** Ranges of rowids: the first, the last, and how many rows are in it. */
  *#steps(): Generator<readonly [bigint, bigint, number], void> {
    for (let after = INTEGER_MIN; ;) {
      const [[first, last, rows] = []] = this.#db.execute(this.#sql.steps, [after]);
      if (typeof first !== "bigint" || typeof last !== "bigint") return;
      yield [first, last, whole(rows)];
      after = last;
    }
  }

  // --- rows that meet something --------------------------------------------------------------------

  /** Note the rows that the replica holds, shows, or works on. */
  sortOut(touched: readonly string[]): void {
    this.#db.execute(this.#sql.meet_known, [this.scope]);
    this.#db.execute(this.#sql.meet_shown);
    this.#db.execute(this.#sql.meet_touched, [JSON.stringify(touched)]);
  }

  /** Note the rows whose unique values another row has. After those that leave have left. */
  sortByUnique(): void {
    for (const sql of this.#sql.meet_unique) this.#db.execute(sql);
  }

  /** Keys of members of the scope that the file does not have. They may go meanwhile. */
  *departed(): Generator<string, void> {
    this.#db.execute(this.#sql.keys);
    for (let after = ""; ;) {
      const found = this.#db.execute(this.#sql.departed, [this.scope, after]);
      if (found.length === 0) return;
      for (const [key] of found) yield String(key);
      after = String(found.at(-1)?.[0]);
    }
  }

  /** Count and sum of the hashes of rows that become members without being written. */
  *sums(all: boolean): Generator<readonly [number, bigint], void> {
    const sql = all ? this.#sql.sums : this.#sql.sums_rest;
    for (const [first, last] of this.#steps()) {
      const [[count, hashes] = []] = this.#db.execute(sql, [first, last]);
      if (count !== 0n) yield [whole(count), sumOf(String(hashes))];
    }
  }

  /** Rows that are written like those of an answer, a piece at a time. */
  *written(): Generator<readonly Truth[], void> {
    for (let after: Value = INTEGER_MIN; ;) {
      const found = this.#db.execute(this.#sql.written, [after]);
      if (found.length === 0) return;
      yield found.map(([, key, rev, ...row]) => ({ key: String(key), rev: whole(rev), row }));
      after = found.at(-1)?.[0] ?? null;
    }
  }
}
