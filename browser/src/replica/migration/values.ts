/**
 * The values of new columns, wherever a file has images of rows, and what is proven of them.
 *
 * Knows: rows, notes, shadows, hashes. Must not know: which steps a schema takes, or local objects.
 * Truth and what people see get the same new values that a server gives them: a row its fill, or the
 * default; a change that was made before does not touch what it did not know. So hashes are those that a
 * replica has which was loaded anew, and what was sent is sent again as it was (I8).
 */

import { Digest, rowHash } from "../../core/digest.js";
import { BadValue, ConstraintFailed, SchemaError } from "../../core/errors.js";
import { keyValues, type Row } from "../../core/keys.js";
import type { Table } from "../../core/schema.js";
import { check, type Value } from "../../core/values.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { Program, TableMigration } from "../storage/program.js";

/** A table as the program wants it, and as the file has it but for the values of new columns. */
export interface TableChange {
  readonly table: Table;
  readonly sql: TableMigration;
  /** Positions, among the data columns, of those that are new. */
  readonly added: readonly number[];
}

const FIXED = 6;

/** The new columns of one table get their values: in rows, shadows, and images of the outbox. */
export class Filling {
  readonly #db: Connection;
  readonly #to: Program;
  readonly #grown: TableChange;
  readonly #hasFill: boolean;

  constructor(db: Connection, to: Program, grown: TableChange) {
    this.#db = db;
    this.#to = to;
    this.#grown = grown;
    this.#hasFill = grown.added.some((at) => this.#fillOf(at).fill_value !== "");
  }

  #fillOf(at: number): { readonly fill_rows: string; readonly fill_value: string } {
    const { table, sql } = this.#grown;
    return sql.columns[table.dataColumns[at]?.name ?? ""] ?? { fill_rows: "", fill_value: "" };
  }

  run(): void {
    const { added } = this.#grown;
    for (const at of added) {
      const { fill_rows: fill } = this.#fillOf(at);
      if (fill === "") continue;
      try {
        this.#db.execute(fill);
      } catch (error) {
        if (!(error instanceof ConstraintFailed)) throw error;
        throw this.#unfit(at, error.message);
      }
    }
    const shadows = this.#fillShadows();
    this.#fillImages(shadows);
  }

  /** A row's new values, from its data columns. */
  #filled(key: string, data: Row): Row {
    const { table, added } = this.#grown;
    const values = [...data];
    for (const at of added) values[at] = table.dataColumns[at]?.defaultValue ?? null;
    if (!this.#hasFill) return values;
    for (const at of added) {
      const { fill_value: fill } = this.#fillOf(at);
      if (fill === "") continue;
      const row = assembled(table, key, values);
      const value = this.#db.execute(fill, row)[0]?.[0] ?? null;
      const { type, scale } = table.dataColumns[at] as Table["columns"][number];
      try {
        values[at] = check(type, value, scale);
      } catch (error) {
        throw error instanceof BadValue ? this.#unfit(at, error.message) : error;
      }
    }
    return values;
  }

  #unfit(at: number, why: string): SchemaError {
    const { table } = this.#grown;
    return new SchemaError(
      `the fill of ${table.name}.${table.dataColumns[at]?.name} gives a value that does not fit: ` +
        `${why}; nothing was changed`,
      "bad_fill",
    );
  }

  /** By key: the shadows of rows that exist, as they are now. */
  #fillShadows(): Map<string, Row> {
    const { table, sql } = this.#grown;
    const put = this.#to.statements(table).put_shadow;
    const filled = new Map<string, Row>();
    for (const [key, ...data] of this.#db.execute(sql.shadows)) {
      const values = this.#filled(String(key), data);
      this.#db.execute(put, [key ?? null, 1n, ...values]);
      filled.set(String(key), values);
    }
    return filled;
  }

  /**
   * A row that is inserted gets its new values there; each later change of it leaves them. So does one of
   * a row that the server has. What people see of a row with pending work has the same.
   */
  #fillImages(shadows: ReadonlyMap<string, Row>): void {
    const { table, sql, added } = this.#grown;
    const width = table.dataColumns.length;
    let last: readonly [string, Row | null] = ["", null];
    const shown = new Map<string, Row>();
    const pending = new Set(
      this.#db.execute(this.#to.statements(table).unsettled_keys).map(([key]) => String(key)),
    );
    for (const [tx, name, was, now, , , ...images] of this.#db.execute(sql.images)) {
      const key = String(name);
      const [old, fresh] = [images.slice(0, width), images.slice(width, 2 * width)];
      const before: Row | null =
        was !== 1n
          ? null
          : last[0] === key && last[1] !== null
            ? withNew(added, old, last[1])
            : this.#filled(key, old);
      const after: Row | null =
        now !== 1n
          ? null
          : before === null
            ? this.#filled(key, fresh)
            : withNew(added, fresh, before);
      this.#db.execute(sql.set_images, [
        ...(before ?? old),
        ...(after ?? fresh),
        name ?? null,
        tx ?? null,
      ]);
      last = [key, after];
      const stands = shadows.get(key) ?? after;
      if (pending.has(key) && stands !== null) shown.set(key, stands);
    }
    this.#show(shown);
  }

  #show(shown: ReadonlyMap<string, Row>): void {
    const { table, added } = this.#grown;
    const { select_row: select, upsert_row: upsert } = this.#to.statements(table);
    for (const [key, values] of shown) {
      const [row] = this.#db.execute(select, keyValues(table, key));
      if (row === undefined) continue;
      const data = table.dataPositions.map((position) => row[position] ?? null);
      if (added.every((at) => data[at] === values[at])) continue;
      this.#db.execute(upsert, assembled(table, key, withNew(added, data, values)));
    }
  }
}

/** Data columns with the new ones as they stand in another row. */
function withNew(added: readonly number[], data: Row, other: Row): Value[] {
  const values = [...data];
  for (const at of added) values[at] = other[at] ?? null;
  return values;
}

function assembled(table: Table, key: string, data: Row): Row {
  const values = [...keyValues(table, key), ...data];
  return table.assembled.map((position) => values[position] ?? null);
}

/** Members of a table whose rows have other columns now, and the digests of their scopes. */
export function hashAgain(db: Connection, to: Program, table: Table): void {
  const { members, scopes } = to.bookkeeping;
  const sql = to.statements(table);
  const keys = new Map<string, Uint8Array>();
  const digests = new Map<string, Digest>();
  for (const [scope, key, count, digest] of db.execute(scopes.digests)) {
    keys.set(String(scope), key instanceof Uint8Array ? key : new Uint8Array());
    digests.set(String(scope), Digest.of(whole(count), String(digest)));
  }
  const unsettled = new Set(db.execute(sql.unsettled_keys).map(([key]) => String(key)));
  for (const [scope, name, hash] of db.execute(members.of_table, [table.name])) {
    const [place, key] = [String(scope), String(name)];
    const hashKey = keys.get(place);
    const digest = digests.get(place);
    const row = truth(db, to, table, key, unsettled);
    if (hashKey === undefined || digest === undefined || row === null) continue;
    if (!(hash instanceof Uint8Array)) continue;
    const fresh = rowHash(hashKey, table.name, key, row);
    db.execute(to.json.migration.set_hash, [fresh, place, table.name, key]);
    if (db.changes() === 0) continue; // it is known to be damaged
    digests.set(place, digest.replace([hash], [fresh]));
  }
  for (const [scope, { count, hex }] of digests)
    db.execute(scopes.set_digest, [BigInt(count), hex, scope]);
}

/** The server's version of a row, as the file has it. */
function truth(
  db: Connection,
  to: Program,
  table: Table,
  key: string,
  unsettled: ReadonlySet<string>,
): Row | null {
  const sql = to.statements(table);
  const [shadow] = db.execute(sql.select_shadow, [key]);
  if (shadow !== undefined) return shadow[0] === 1n ? assembled(table, key, shadow.slice(1)) : null;
  if (unsettled.has(key)) {
    const [first] = db.execute(sql.key_changes, [key]);
    const width = table.dataColumns.length;
    if (first?.[2] === 1n) return assembled(table, key, first.slice(FIXED, FIXED + width));
    if (first !== undefined) return null;
  }
  return db.execute(sql.select_row, keyValues(table, key))[0] ?? null;
}
