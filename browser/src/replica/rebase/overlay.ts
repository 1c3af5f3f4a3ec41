/**
 * The overlay: visible row = the server's row + unsettled changes replayed on it, in order.
 *
 * Knows: change notes and shadows. Must not know: messages or the network.
 * Drawn at the head of `engine/src/holdfast/replica/rebase/overlay.py`.
 * Upholds I15 and I32. Server truth never fails to apply; a transaction whose replay breaks a
 * constraint is set aside whole, see `replay`.
 */

import { ConstraintFailed } from "../../core/errors.js";
import { keyText, keyValues, type Row, rowKey } from "../../core/keys.js";
import { policyOf } from "../../core/merging/policies.js";
import type { Table } from "../../core/schema.js";
import { same } from "../../core/values.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { Reference, TableProgram } from "../storage/program.js";

/** A captured change of one row: `old` and `new` are the data columns' values. */
export interface CapturedChange {
  readonly tx: number;
  readonly key: string;
  readonly was: boolean;
  readonly now: boolean;
  readonly base: number;
  readonly bases: string | null;
  readonly old: Row;
  readonly new: Row;
}

const FIXED = 6;

/** A row of the `changes` statements. */
export function noteOf(table: Table, row: Row): CapturedChange {
  const width = table.dataColumns.length;
  return {
    tx: whole(row[0]),
    key: String(row[1]),
    was: row[2] === 1n,
    now: row[3] === 1n,
    base: whole(row[4]),
    bases: typeof row[5] === "string" ? row[5] : null,
    old: row.slice(FIXED, FIXED + width),
    new: row.slice(FIXED + width, FIXED + 2 * width),
  };
}

/** Return whether a change touches the data column at a position: it, or one that is decided with it. */
export function touches(table: Table, note: CapturedChange, position: number): boolean {
  return note.was !== note.now || differs(table, note.old, note.new, position);
}

/** Return whether two rows' data columns differ at a position, or at one that is decided with it. */
export function differs(table: Table, old: Row, fresh: Row, position: number): boolean {
  return (table.partners[position] ?? [position]).some(
    (at) => !same(old[at] ?? null, fresh[at] ?? null),
  );
}

/** The defaults of the data columns. */
export function defaultsOf(table: Table): Row {
  return table.dataColumns.map(({ defaultValue }) => defaultValue);
}

/** A whole row in column order from its key's text and its data columns. */
export function assemble(table: Table, key: string, data: Row): Row {
  const values = [...keyValues(table, key), ...data];
  return table.assembled.map((position) => values[position] ?? null);
}

/** The data columns of a whole row. */
export function dataOf(table: Table, row: Row): Row {
  return table.dataPositions.map((position) => row[position] ?? null);
}

/** One change replayed on a row (data columns; null: absent). */
export function fold(table: Table, base: Row | null, note: CapturedChange): Row | null {
  if (!note.now) return null;
  if (base === null) return note.new;
  const old = note.was ? note.old : defaultsOf(table);
  return table.dataColumns.map((column, position) => {
    const current = base[position] ?? null;
    if (!differs(table, old, note.new, position)) return current;
    const wanted = note.new[position] ?? null;
    return policyOf(column).replay(current, note.was ? (note.old[position] ?? null) : null, wanted);
  });
}

/** A row with changes replayed on it; and the first of them that has nothing to stand on. */
export interface Folded {
  readonly data: Row | null;
  readonly lost: CapturedChange | null;
}

/**
 * Changes of one row (all that are unsettled, in order) replayed on it, without those of transactions
 * that are hidden. A row that news removed is revived by a change of it: as it was before the first
 * of them, so that nothing of a hidden one comes back with it. `stands`: whether it may be.
 */
export function foldAll(
  table: Table,
  base: Row | null,
  notes: readonly CapturedChange[],
  hidden: ReadonlySet<number>,
  stands: (note: CapturedChange) => boolean = () => true,
): Folded {
  let data = base;
  const first = notes[0];
  for (const note of notes) {
    if (hidden.has(note.tx)) continue;
    if (data === null && note.was && note.now) {
      if (first?.was !== true || !stands(note)) return { data: null, lost: note };
      data = first.old;
    }
    data = fold(table, data, note);
  }
  return { data, lost: null };
}

/** Rows of one table, as the server has them and as the person sees them. */
export class Overlay {
  readonly table: Table;
  readonly #db: Connection;
  readonly #sql: TableProgram;

  constructor(db: Connection, table: Table, sql: TableProgram) {
    this.#db = db;
    this.table = table;
    this.#sql = sql;
  }

  /** The foreign keys that a replica enforces. */
  get references(): readonly Reference[] {
    return this.#sql.references;
  }

  /** The server's version of a row as last applied; `decided`: numbers being settled now. */
  truth(key: string, decided: ReadonlySet<number>): Row | null {
    const [shadow] = this.#db.execute(this.#sql.select_shadow, [key]);
    if (shadow !== undefined)
      return shadow[0] === 1n ? assemble(this.table, key, shadow.slice(1)) : null;
    const first = this.#first(key, decided);
    if (first !== null) return first.was ? assemble(this.table, key, first.old) : null;
    return this.visible(key);
  }

  /** The earliest change of a key among those unsettled or being settled now. */
  #first(key: string, decided: ReadonlySet<number>): CapturedChange | null {
    const unsettled = new Set(this.notes(key).map((note) => note.tx));
    return this.#all(key).find(({ tx }) => decided.has(tx) || unsettled.has(tx)) ?? null;
  }

  /** All noted changes of a key, settled or not, in order. */
  #all(key: string): CapturedChange[] {
    return this.#db.execute(this.#sql.all_key_changes, [key]).map((row) => noteOf(this.table, row));
  }

  /** The row as the table holds it. */
  visible(key: string): Row | null {
    return this.#db.execute(this.#sql.select_row, keyValues(this.table, key))[0] ?? null;
  }

  /** Rows as the table holds them, by key; those that are not there are left out. */
  visibleRows(keys: readonly string[]): (readonly [string, Row])[] {
    if (this.#sql.select_rows !== "")
      return this.#db
        .execute(this.#sql.select_rows, [JSON.stringify(keys)])
        .map((row) => [rowKey(this.table, row), row] as const);
    return keys.flatMap((key) => {
      const row = this.visible(key);
      return row === null ? [] : [[key, row] as const];
    });
  }

  /** Return what the server has made of a row that it knew as we did: our accepted changes on it. */
  made(key: string, decided: ReadonlySet<number>, acked: ReadonlySet<number>): Row | null {
    const row = this.truth(key, decided);
    let data = row === null ? null : dataOf(this.table, row);
    for (const note of this.#all(key)) if (acked.has(note.tx)) data = fold(this.table, data, note);
    return data === null ? null : assemble(this.table, key, data);
  }

  putShadow(key: string, truth: Row | null): void {
    const data =
      truth === null ? this.table.dataColumns.map(() => null) : dataOf(this.table, truth);
    this.#db.execute(this.#sql.put_shadow, [key, truth === null ? 0n : 1n, ...data]);
  }

  /** Make the table hold this row (null: no row). */
  write(key: string, row: Row | null): void {
    if (row === null) this.#db.execute(this.#sql.delete_row, keyValues(this.table, key));
    else this.#db.execute(this.#sql.upsert_row, row);
  }

  /** Keys of other rows that hold a unique value of this one. */
  colliding(row: Row): string[] {
    const own = this.table.keyPositions.map((position) => row[position] ?? null);
    return this.table.unique.flatMap((unique, at) => {
      const sql = this.#sql.colliding[at];
      const values = unique.map((name) => row[this.table.positions.get(name) ?? -1] ?? null);
      if (sql === undefined || values.includes(null)) return [];
      return this.#db.execute(sql, [...values, ...own]).map((key) => keyText(this.table, key));
    });
  }

  /** Remove other rows that hold the unique values of server truth; returns their keys. */
  makeRoom(row: Row): string[] {
    const removed = this.colliding(row);
    for (const key of removed) this.write(key, null);
    return removed;
  }

  /** The unsettled changes of a row, in order. */
  notes(key: string): CapturedChange[] {
    return this.#db.execute(this.#sql.key_changes, [key]).map((row) => noteOf(this.table, row));
  }

  /** Keys that unsettled transactions delete, as far as they are shown. */
  deletedKeys(): string[] {
    return this.#db.execute(this.#sql.deleted_keys).map(([key]) => String(key));
  }

  /** Transactions from one number to another, with the keys that they change. */
  touched(first: number, last: number): (readonly [number, string])[] {
    return this.#db
      .execute(this.#sql.touched_keys, [BigInt(first), BigInt(last)])
      .map(([tx, key]) => [whole(tx), String(key)] as const);
  }

  /** Keys of the rows whose reference at this place is to that parent (its key's values). */
  children(place: number, parent: Row): string[] {
    const sql = this.#sql.references[place]?.children ?? "";
    return this.#db.execute(sql, parent).map((key) => keyText(this.table, key));
  }

  /** Make the table hold this row, if constraints allow; else nothing has changed. */
  attempt(key: string, row: Row | null): ConstraintFailed | null {
    try {
      this.#db.savepoint("holdfast_replay", () => this.write(key, row));
      return null;
    } catch (error) {
      if (error instanceof ConstraintFailed) return error;
      throw error;
    }
  }
}
