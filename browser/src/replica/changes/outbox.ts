/**
 * The outbox as messages: which transactions go up next, and in which words.
 *
 * Knows: the outbox tables and the protocol's messages. Must not know: HTTP.
 * Upholds I9 (numbers in order, without gaps) and I27: a transaction that cannot be put into a
 * message travels as void and is refused, and does not stop the others.
 */

import { BadValue, DatabaseError } from "../../core/errors.js";
import { keyValues, type Row } from "../../core/keys.js";
import {
  PUSH_BYTES_SOFT,
  PUSH_CHANGES_MAX,
  PUSH_STEP_TRANSACTIONS,
  PUSH_TRANSACTIONS_MAX,
  TRANSACTION_BYTES_MAX,
  TRANSACTION_CHANGES_MAX,
} from "../../core/limits.js";
import { policyOf } from "../../core/merging/policies.js";
import type { Column, Table } from "../../core/schema.js";
import { check, toWire, utf8Length, type Value, type Wire } from "../../core/values.js";
import type { Change, Transaction } from "../../protocol/messages.generated.js";
import { whole } from "../../sqlite/connection.js";
import { offeredAgain } from "../identity/kept.js";
import type { LocalDatabase } from "../storage/database.js";
import { notedTables } from "../storage/noted.js";
import { type CapturedChange, noteOf, touches } from "../rebase/overlay.js";

/** A note of a table; null: it has text that is not valid. */
interface Found {
  readonly table: Table;
  readonly note: CapturedChange | null;
}

/** The transactions that go up next, in order, and marked as sent: what is kept and offered again, and
 * after that what is unsettled, which has higher numbers. */
export function nextBatch(database: LocalDatabase): Transaction[] {
  const again = offeredAgain(database);
  if (again.length > 0) return again;
  const heads = database.connection.execute(database.bookkeeping.transactions.next_heads, [
    BigInt(PUSH_TRANSACTIONS_MAX),
  ]);
  if (heads.length === 0) return [];
  const tables = notedTables(database.connection, database.program);
  const later = laterColumns(database);
  const batch: Transaction[] = [];
  let [changesLeft, bytesLeft] = [PUSH_CHANGES_MAX, PUSH_BYTES_SOFT];
  for (let start = 0; start < heads.length; start += PUSH_STEP_TRANSACTIONS) {
    const part = heads.slice(start, start + PUSH_STEP_TRANSACTIONS);
    const found = changesOf(database, tables, whole(part[0]?.[0]), whole(part.at(-1)?.[0]));
    for (const head of part) {
      const notes = found.get(whole(head[0])) ?? [];
      const cost = notes.reduce((sum, { note }) => sum + size(note), 0);
      // A batch is closed when it is large enough; one larger transaction travels alone.
      if (batch.length > 0 && (notes.length > changesLeft || cost > bytesLeft))
        return sent(database, batch);
      batch.push(message(head, notes, later, cost > PUSH_BYTES_SOFT));
      changesLeft -= notes.length;
      bytesLeft -= cost;
    }
  }
  return sent(database, batch);
}

function sent(database: LocalDatabase, batch: Transaction[]): Transaction[] {
  const last = batch.at(-1);
  if (last !== undefined)
    database.connection.execute(database.bookkeeping.transactions.set_sent, [BigInt(last.number)]);
  return batch;
}

/** Messages of some that were sent, by number, encoded as they were. */
export function messagesOf(
  database: LocalDatabase,
  numbers: ReadonlySet<number>,
): Map<number, Transaction> {
  const made = new Map<number, Transaction>();
  if (numbers.size === 0) return made;
  const [first, last] = [Math.min(...numbers), Math.max(...numbers)];
  const heads = database.connection.execute(database.bookkeeping.transactions.heads, [
    BigInt(first),
    BigInt(last),
  ]);
  const tables = notedTables(database.connection, database.program);
  const later = laterColumns(database);
  const found = changesOf(database, tables, first, last);
  for (const head of heads) {
    const number = whole(head[0]);
    if (numbers.has(number)) made.set(number, message(head, found.get(number) ?? [], later, false));
  }
  return made;
}

/** Yield what was sent and has no outcome, as it was sent. `heads`: the statement that finds it. */
export function* sentMessages(database: LocalDatabase, heads: string): Generator<Transaction> {
  const all = database.connection.execute(heads);
  if (all.length === 0) return;
  const tables = notedTables(database.connection, database.program);
  const later = laterColumns(database);
  for (let start = 0; start < all.length; start += PUSH_STEP_TRANSACTIONS) {
    const part = all.slice(start, start + PUSH_STEP_TRANSACTIONS);
    const found = changesOf(database, tables, whole(part[0]?.[0]), whole(part.at(-1)?.[0]));
    for (const head of part) {
      const notes = found.get(whole(head[0])) ?? [];
      const cost = notes.reduce((sum, { note }) => sum + size(note), 0);
      yield message(head, notes, later, cost > PUSH_BYTES_SOFT);
    }
  }
}

function changesOf(
  database: LocalDatabase,
  tables: readonly Table[],
  first: number,
  last: number,
): Map<number, Found[]> {
  const found = new Map<number, Found[]>();
  const add = (number: number, one: Found): void => {
    const list = found.get(number);
    if (list === undefined) found.set(number, [one]);
    else list.push(one);
  };
  for (const table of tables) {
    const sql = database.program.statements(table).changes;
    const read = (from: number, to: number): CapturedChange[] =>
      database.connection.execute(sql, [BigInt(from), BigInt(to)]).map((row) => noteOf(table, row));
    try {
      for (const note of read(first, last)) add(note.tx, { table, note });
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      // One among many has text that is not valid: find out which.
      for (let number = first; number <= last; number += 1)
        try {
          for (const note of read(number, number)) add(number, { table, note });
        } catch (inner) {
          if (!isUnreadable(inner)) throw inner;
          add(number, { table, note: null });
        }
    }
  }
  return found;
}

function isUnreadable(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === "bad_value";
}

function size(note: CapturedChange | null): number {
  if (note === null) return 64;
  const values: Row = [note.key, ...note.old, ...note.new];
  return values.reduce<number>(
    (sum, value) =>
      sum + (typeof value === "string" || value instanceof Uint8Array ? value.length : 12),
    64,
  );
}

/** With which generation each column came that the file was not made with: by table and name. */
type LaterColumns = ReadonlyMap<string, ReadonlyMap<string, number>>;

function laterColumns(database: LocalDatabase): LaterColumns {
  const came = new Map<string, Map<string, number>>();
  for (const [table, column, generation] of database.connection.execute(
    database.program.json.migration.added,
  )) {
    const ofTable = came.get(String(table)) ?? new Map<string, number>();
    came.set(String(table), ofTable.set(String(column), whole(generation)));
  }
  return came;
}

/** `later`: a message does not have the columns that came later than its generation, then or now, so
 * that what was sent and is sent again is the same (I8). `large`: its size may be over what a message
 * can carry, and is looked at. */
function message(
  head: Row,
  notes: readonly Found[],
  later: LaterColumns,
  large: boolean,
): Transaction {
  const [number, id, at, after, replaces, marked, generation, first] = head;
  let code = String(marked);
  let changes: Change[] = [];
  if (notes.length > TRANSACTION_CHANGES_MAX) code = "too_many_changes";
  try {
    if (code === "")
      changes = notes.map(({ table, note }) => {
        if (note === null) throw new BadValue(`${table.name} has text that is not valid Unicode`);
        const came = later.get(table.name);
        return changeMessage(
          table,
          note,
          (column) => (came?.get(column.name) ?? 0) > whole(generation),
        );
      });
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    code = error.code;
    changes = [];
  }
  const made = (all: Change[], why: string): Transaction => ({
    number: whole(number),
    id: String(id),
    at: whole(at),
    changes: all,
    ...optional({
      after: JSON.parse(String(after)) as number[],
      replaces: whole(replaces),
      void: why,
      first: typeof first === "string" ? first : "",
    }),
  });
  const whole_ = made(changes, code);
  if (large && utf8Length(JSON.stringify(whole_)) > TRANSACTION_BYTES_MAX)
    return made([], "too_large");
  return whole_;
}

/** Leave out what has its default: the server refuses nothing it does not need to read. */
function optional<T extends object>(fields: T): Partial<T> {
  const kept = Object.entries(fields).filter(([, value]: [string, unknown]) =>
    typeof value === "object" && value !== null ? Object.keys(value).length > 0 : Boolean(value),
  );
  return Object.fromEntries(kept) as Partial<T>;
}

/** One captured change as a message, but for columns that are left out. Throws `BadValue`. */
export function changeMessage(
  table: Table,
  note: CapturedChange,
  without: (column: Column) => boolean = () => false,
): Change {
  const fresh: Record<string, Wire> = {};
  const old: Record<string, Wire> = {};
  table.dataColumns.forEach((column, position) => {
    if (without(column)) return;
    if (note.was && note.now && !touches(table, note, position)) return;
    const before = note.old[position] ?? null;
    const after = note.new[position] ?? null;
    const { difference, replaces } = policyOf(column);
    if (note.now)
      fresh[column.name] = wire(table, column, note.was ? difference(before, after) : after);
    // What never could be sent was never there for anybody else.
    if (note.was && replaces && isSendable(column, before))
      old[column.name] = wire(table, column, before);
  });
  const values = keyValues(table, note.key);
  return {
    table: table.name,
    key: table.keyColumns.map((column, at) => wire(table, column, values[at] ?? null)),
    op: note.now ? (note.was ? "update" : "insert") : "delete",
    ...optional({
      base: note.base,
      bases: note.bases === null ? {} : (JSON.parse(note.bases) as Record<string, number>),
      new: fresh,
      old,
    }),
  };
}

function isSendable(column: Column, value: Value): boolean {
  try {
    check(column.type, value, column.scale);
    return true;
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    return false;
  }
}

function wire(table: Table, column: Column, value: Value): Wire {
  try {
    return toWire(column.type, check(column.type, value, column.scale));
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    const mended = value instanceof Uint8Array && column.type !== "bytes"; // by sealing
    const why = mended ? "text that is not valid UTF-8" : error.message;
    throw new BadValue(`${table.name}.${column.name}: ${why}`, error.code, {
      table: table.name,
      column: column.name,
    });
  }
}
