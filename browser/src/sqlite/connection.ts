/**
 * One connection to one SQLite database, with exact values and our own errors.
 *
 * Knows: SQLite's C API as WASM offers it. Must not know: tables of the engine.
 * INTEGER is `bigint`, REAL is `number`, and text is decoded strictly: what is not UTF-8 is an error
 * and not a replacement character. All calls are synchronous; who shares a connection takes turns.
 */

import type { Database, PreparedStatement, Sqlite3Static } from "@sqlite.org/sqlite-wasm";

import {
  BadValue,
  ConstraintFailed,
  type ConstraintKind,
  DatabaseCorrupt,
  DatabaseError,
  DatabaseFull,
  messageOf,
} from "../core/errors.js";
import type { Row } from "../core/keys.js";
import { STATEMENTS_MAX, WORK_TOLD_STEPS } from "../core/limits.js";
import type { Value } from "../core/values.js";

const [INTEGER, FLOAT, TEXT, BLOB] = [1, 2, 3, 4];
const [ROW, DONE] = [100, 101];
const CONSTRAINTS: ReadonlyMap<number, ConstraintKind> = new Map([
  [275, "check"],
  [787, "foreign_key"],
  [1299, "not_null"],
  [1555, "unique"],
  [1811, "trigger"],
  [2067, "unique"],
  [2579, "unique"],
  [3091, "check"], // a value of another storage class in a STRICT table
]);

/** No authorizer: SQLite takes a null pointer, which the types of its wrapper do not know. */
const NOBODY = 0 as unknown as Parameters<Sqlite3Static["capi"]["sqlite3_set_authorizer"]>[1];

/** The same of the hook that is told of changed rows. */
const NO_HOOK = 0 as unknown as Parameters<Sqlite3Static["capi"]["sqlite3_update_hook"]>[1];

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

export interface Columns {
  readonly names: readonly string[];
  readonly rows: readonly Row[];
}

/** Effect of a statement: whether it only reads, and the tables it reads, through views too. */
export interface Inspected {
  readonly readOnly: boolean;
  readonly tables: readonly string[];
}

/** The disk below a connection, as far as it has to know it. */
export interface Disk {
  /** Whether the last write failed because it is full. */
  readonly noRoomLeft: () => boolean;
  /** Tell of each write. */
  readonly tellOfWrites: (to: (() => void) | null) => void;
}

const MEMORY: Disk = { noRoomLeft: () => false, tellOfWrites: () => undefined };

const CHANGES_SCHEMA = /^\s*(?:create|drop|alter)\b/i;

export class Connection {
  readonly #sqlite: Sqlite3Static;
  readonly #db: Database;
  readonly #disk: Disk;
  readonly #statements = new Map<string, PreparedStatement>();
  readonly #inspected = new Map<string, Inspected>();
  #read: Set<string> | null = null;
  #changed = new Set<string>();

  constructor(sqlite: Sqlite3Static, db: Database, disk: Disk = MEMORY) {
    this.#sqlite = sqlite;
    this.#db = db;
    this.#disk = disk;
    this.listen();
  }

  /** Note the rows that somebody's statement changes, for live queries. Our own tables WITHOUT ROWID
   * are not told of, and not asked about. */
  listen(): void {
    this.#sqlite.capi.sqlite3_update_hook(
      this.#db,
      (_context, _op, _database, table) => void this.#changed.add(table),
      0,
    );
  }

  /** Do not note each row until `listen` is called: these tables are going to change. */
  listenNoMore(changing: Iterable<string>): void {
    for (const table of changing) this.#changed.add(table);
    this.#sqlite.capi.sqlite3_update_hook(this.#db, NO_HOOK, 0);
  }

  /** Tell again and again that statements get on, from the middle of them; null: nobody any more. */
  tellOfWork(to: (() => void) | null): void {
    const handler = (): 0 => {
      to?.();
      return 0;
    };
    const none = NOBODY as unknown as typeof handler;
    this.#sqlite.capi.sqlite3_progress_handler(
      this.#db,
      WORK_TOLD_STEPS,
      to === null ? none : handler,
      0,
    );
    this.#disk.tellOfWrites(to);
  }

  /** Run one statement; all of its rows. */
  execute(sql: string, params: Row = []): Row[] {
    const statement = this.#prepare(sql);
    try {
      this.#bind(statement, params);
      return this.#rows(statement);
    } finally {
      // What it answers is the failure of the step before, which has been told.
      this.#sqlite.capi.sqlite3_reset(statement);
    }
  }

  /** Run one statement for each row of parameters. */
  executeMany(sql: string, rows: Iterable<Row>): void {
    for (const row of rows) this.execute(sql, row);
  }

  /** Run one statement; its column names and all of its rows. */
  columns(sql: string, params: Row = []): Columns {
    const statement = this.#prepare(sql);
    try {
      this.#bind(statement, params);
      const names = statement.columnCount === 0 ? [] : statement.getColumnNames();
      return { names, rows: this.#rows(statement) };
    } finally {
      this.#sqlite.capi.sqlite3_reset(statement);
    }
  }

  /** Run several statements without parameters. */
  script(sql: string): void {
    this.#inspected.clear();
    try {
      this.#db.exec(sql);
    } catch (error) {
      throw this.#translated(error);
    }
  }

  /** Look at a statement without running it. It is remembered: the engine's views are long, and an
   * app asks the same again and again. */
  inspect(sql: string): Inspected {
    const known = this.#inspected.get(sql);
    if (known !== undefined) return known;
    const found = this.#inspect(sql);
    if (this.#inspected.size >= STATEMENTS_MAX) this.#inspected.clear();
    this.#inspected.set(sql, found);
    return found;
  }

  #inspect(sql: string): Inspected {
    const { capi } = this.#sqlite;
    const read = new Set<string>();
    this.#read = read;
    const authorize = (_: unknown, action: number, table: string | 0): 0 => {
      if (action === capi.SQLITE_READ && typeof table === "string") this.#read?.add(table);
      return 0;
    };
    capi.sqlite3_set_authorizer(this.#db, authorize, 0);
    let statement: PreparedStatement | null = null;
    try {
      statement = this.#db.prepare(sql);
      return { readOnly: capi.sqlite3_stmt_readonly(statement) !== 0, tables: [...read] };
    } catch (error) {
      throw this.#translated(error);
    } finally {
      statement?.finalize();
      this.#read = null;
      capi.sqlite3_set_authorizer(this.#db, NOBODY, 0);
    }
  }

  /** Rows changed by the last statement. */
  changes(): number {
    return this.#sqlite.capi.sqlite3_changes(this.#db);
  }

  /** The tables changed since this was last asked. */
  takeChanged(): Set<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  get inTransaction(): boolean {
    return this.#sqlite.capi.sqlite3_get_autocommit(this.#db) === 0;
  }

  /** A write transaction: committed at the end, rolled back on any error. */
  transaction<T>(work: () => T): T {
    this.execute("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.execute("COMMIT");
      return result;
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  /** End an open transaction as if it had never been; without one it does nothing. */
  rollback(): void {
    if (this.inTransaction) this.execute("ROLLBACK");
  }

  /** A savepoint inside a transaction; undone on any error. */
  savepoint<T>(name: string, work: () => T): T {
    this.execute(`SAVEPOINT ${name}`);
    try {
      const result = work();
      this.execute(`RELEASE ${name}`);
      return result;
    } catch (error) {
      this.execute(`ROLLBACK TO ${name}`);
      this.execute(`RELEASE ${name}`);
      throw error;
    }
  }

  /** No value that is read or written may be larger. */
  limitValues(bytesMax: number): void {
    this.#sqlite.capi.sqlite3_limit(this.#db, this.#sqlite.capi.SQLITE_LIMIT_LENGTH, bytesMax);
  }

  /** Attach a database that is nothing but its bytes, for reading. */
  attachImage(image: Uint8Array, alias: string): void {
    this.execute(`ATTACH ':memory:' AS ${alias}`);
    this.loadImage(image, alias, true);
  }

  /** Make a database of this connection, which is in memory, the one of these bytes. */
  loadImage(image: Uint8Array, schema: string, readOnly: boolean): void {
    const { capi, wasm } = this.#sqlite;
    const pointer = wasm.allocFromTypedArray(image);
    const flags =
      capi.SQLITE_DESERIALIZE_FREEONCLOSE |
      (readOnly ? capi.SQLITE_DESERIALIZE_READONLY : capi.SQLITE_DESERIALIZE_RESIZEABLE);
    const size = image.length;
    const code = capi.sqlite3_deserialize(this.#db, schema, pointer, size, size, flags);
    if (code !== 0) throw new DatabaseCorrupt("the image is not a database");
  }

  /** The whole database as a file's bytes. */
  serialize(): Uint8Array {
    return this.#sqlite.capi.sqlite3_js_db_export(this.#db);
  }

  close(): void {
    this.tellOfWork(null);
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    this.#db.close();
  }

  #prepare(sql: string): PreparedStatement {
    if (CHANGES_SCHEMA.test(sql)) this.#inspected.clear();
    const known = this.#statements.get(sql);
    if (known !== undefined) {
      this.#statements.delete(sql); // to the end: the least recently used goes first
      this.#statements.set(sql, known);
      return known;
    }
    let statement: PreparedStatement;
    try {
      statement = this.#db.prepare(sql);
    } catch (error) {
      throw this.#translated(error);
    }
    this.#statements.set(sql, statement);
    if (this.#statements.size > STATEMENTS_MAX) {
      const oldest = this.#statements.entries().next().value;
      if (oldest !== undefined) {
        this.#statements.delete(oldest[0]);
        oldest[1].finalize();
      }
    }
    return statement;
  }

  #bind(statement: PreparedStatement, params: Row): void {
    const { capi, wasm } = this.#sqlite;
    if (statement.parameterCount !== params.length)
      throw new DatabaseError(
        `the statement has ${statement.parameterCount} parameters, ${params.length} were given`,
      );
    params.forEach((value, at) => {
      let code: number;
      if (value === null) {
        capi.sqlite3_bind_null(statement, at + 1); // its wrapper tells nothing
        code = 0;
      } else if (typeof value === "bigint") {
        if (BigInt.asIntN(64, value) !== value) throw new BadValue("integer does not fit 64 bits");
        code = capi.sqlite3_bind_int64(statement, at + 1, value);
      } else if (typeof value === "number")
        code = capi.sqlite3_bind_double(statement, at + 1, value);
      else {
        // With its length, so that a NUL inside is seen and refused, and does not cut it.
        const bytes = typeof value === "string" ? encoder.encode(value) : value;
        const pointer = wasm.allocFromTypedArray(bytes.length === 0 ? new Uint8Array(1) : bytes);
        const bind = typeof value === "string" ? capi.sqlite3_bind_text : capi.sqlite3_bind_blob;
        code = bind(statement, at + 1, pointer, bytes.length, capi.SQLITE_WASM_DEALLOC);
      }
      if (code !== 0) throw this.#failed(code);
    });
  }

  #rows(statement: PreparedStatement): Row[] {
    const { capi } = this.#sqlite;
    const rows: Row[] = [];
    const width = capi.sqlite3_column_count(statement);
    for (;;) {
      const code: number = capi.sqlite3_step(statement);
      if (code === DONE) return rows;
      if (code !== ROW) throw this.#failed(code);
      const row: Value[] = [];
      for (let at = 0; at < width; at += 1) row.push(this.#value(statement, at));
      rows.push(row);
    }
  }

  #value(statement: PreparedStatement, at: number): Value {
    const { capi, wasm } = this.#sqlite;
    const type: number = capi.sqlite3_column_type(statement, at);
    if (type === INTEGER) return capi.sqlite3_column_int64(statement, at);
    if (type === FLOAT) return capi.sqlite3_column_double(statement, at);
    if (type !== TEXT && type !== BLOB) return null;
    const pointer = capi.sqlite3_column_blob(statement, at);
    const bytes = wasm
      .heap8u()
      .subarray(pointer, pointer + capi.sqlite3_column_bytes(statement, at));
    if (type === BLOB) return bytes.slice();
    try {
      return utf8.decode(bytes);
    } catch {
      throw new DatabaseError("text in the database is not valid UTF-8", "bad_value");
    }
  }

  #failed(code: number): DatabaseError {
    const { capi } = this.#sqlite;
    const extended = capi.sqlite3_extended_errcode(this.#db) || code;
    return this.#error(extended, capi.sqlite3_errmsg(this.#db));
  }

  #translated(error: unknown): Error {
    if (error instanceof DatabaseError || error instanceof BadValue) return error;
    const { resultCode } = error as { resultCode?: unknown };
    return typeof resultCode === "number"
      ? this.#error(resultCode, messageOf(error))
      : new DatabaseError(messageOf(error));
  }

  #error(code: number, message: string): DatabaseError {
    const primary = code & 0xff;
    const kind = CONSTRAINTS.get(code);
    if (kind !== undefined) return new ConstraintFailed(message, kind);
    if (primary === 19) return new ConstraintFailed(message, "check");
    if (primary === 13) return new DatabaseFull(message);
    // The OPFS VFS answers a write beyond the quota with an I/O error like any other.
    if (primary === 10 && this.#disk.noRoomLeft())
      return new DatabaseFull("no space left for this page's data");
    if (primary === 11 || primary === 26) return new DatabaseCorrupt(message);
    return new DatabaseError(message);
  }
}

/** An engine's own integer (a number, version, revision or time: below 2^53). */
export function whole(value: Value | undefined): number {
  if (typeof value !== "bigint")
    throw new DatabaseError("an integer of the engine is not readable");
  return Number(value);
}
