/**
 * Nothing is committed that could not be sent: looked at in the commit itself.
 *
 * Knows: the log, the outbox, and what a message can carry. Must not know: when it is sent.
 * A bound of the size, and what the tables' checks cannot see, are looked at first, which costs a read
 * of what the transaction has just written. Only what may not be fit is sealed at once, and looked at
 * as it would travel; then it is refused, or stays sealed.
 *
 * Upholds I28: what would be refused for itself is refused to the one who writes it.
 */

import { BadValue, ReplicaError } from "../../core/errors.js";
import { type Row, rowScopes } from "../../core/keys.js";
import {
  MIB,
  ROW_BYTES_MAX,
  TRANSACTION_AROUND_BYTES,
  TRANSACTION_BYTES_MAX,
  TRANSACTION_CHANGES_MAX,
} from "../../core/limits.js";
import type { Table } from "../../core/schema.js";
import { utf8Length, type Value } from "../../core/values.js";
import { whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";
import { changeMessage } from "./outbox.js";
import { assemble, type CapturedChange, noteOf } from "../rebase/overlay.js";
import { isUtf8, spelled } from "./utf8.js";

/** Refuse the transaction whose mark is at a place of the log, if it cannot be sent. Throws `ReplicaError`
 * (`too_many_changes`, `too_large`, `quota_row_bytes`) or `BadValue` (`bad_value`; `table`, `key` and
 * `column` in its detail). */
export function checkFit(database: LocalDatabase, end: number, seal: () => unknown): void {
  const { connection, program } = database;
  const [before] = connection.execute(
    "SELECT seq FROM holdfast_log WHERE tbl = '' AND seq < ? ORDER BY seq DESC LIMIT 1",
    [BigInt(end)],
  );
  const start = before === undefined ? 0 : whole(before[0]);
  const few = end - start - 1 <= TRANSACTION_CHANGES_MAX;
  const { bytes, odd } = bound(database, start);
  const suspects = odd.filter((table) => isSuspect(database, table, start));
  if (few && bytes <= TRANSACTION_BYTES_MAX && suspects.length === 0) return;
  seal();
  const [newest] = connection.execute(program.bookkeeping.transactions.newest_own);
  const number = newest?.[0] ?? 0n;
  let [changes, size] = [0, TRANSACTION_AROUND_BYTES];
  for (const table of program.tables)
    for (const row of connection.execute(program.statements(table).changes, [number, number])) {
      changes += 1;
      size += 1 + checkChange(table, noteOf(table, row));
    }
  const advice = "; commit it in several. Nothing was changed";
  if (changes > TRANSACTION_CHANGES_MAX)
    throw new ReplicaError(
      `a transaction has at most ${TRANSACTION_CHANGES_MAX} changes, this one has ${changes}${advice}`,
      "too_many_changes",
    );
  if (size > TRANSACTION_BYTES_MAX)
    throw new ReplicaError(
      `a transaction has at most ${TRANSACTION_BYTES_MAX / MIB} MiB, ` +
        `this one has ${(size / MIB).toFixed(1)}${advice}`,
      "too_large",
    );
}

/** Return how large the transaction is at most, and the tables of which rows have to be looked at. */
function bound({ connection, program }: LocalDatabase, start: number) {
  let bytes = 0;
  const odd: Table[] = [];
  const place = [BigInt(start)];
  for (const [name] of connection.execute(program.json.log_tables_after, place)) {
    const table = program.byName.get(String(name));
    if (table === undefined) continue;
    const [found] = connection.execute(program.statements(table).log_weight, place);
    bytes += whole(found?.[0]);
    if (found?.[1] === 1n) odd.push(table);
  }
  return { bytes, odd };
}

/** Return whether a row may not be fit to be sent. Throws `BadValue` for a key that is no text. */
function isSuspect({ connection, program }: LocalDatabase, table: Table, start: number): boolean {
  const keys = table.keyColumns.filter((column) => column.type === "text");
  const found = connection.execute(program.statements(table).odd_rows, [BigInt(start)]);
  const suspects = found.filter(([suspect, ...texts]) => {
    keys.forEach((column, at) => {
      const raw = texts[at] ?? null;
      if (!isUtf8(raw))
        throw bad(table, spelled(raw as Uint8Array), column.name, "text that is not valid UTF-8");
    });
    return suspect === 1n || !texts.every(isUtf8);
  });
  return suspects.length > 0;
}

/** Return how many bytes a change has as it travels. Throws `BadValue` or `ReplicaError`. */
function checkChange(table: Table, note: CapturedChange): number {
  try {
    const size = utf8Length(JSON.stringify(changeMessage(table, note)));
    if (note.now) {
      const row = assemble(table, note.key, note.new);
      rowScopes(table, row);
      checkRow(table, note.key, row);
    }
    return size;
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    const named = error.detail["column"];
    const column = typeof named === "string" ? named : "";
    const prefix = `${table.name}.${column}: `;
    const why = error.message.startsWith(prefix)
      ? error.message.slice(prefix.length)
      : error.message;
    throw bad(table, note.key, column, why);
  }
}

function checkRow(table: Table, key: string, row: Row): void {
  const size = row.reduce<number>((sum, value) => sum + bytesOf(value), 0);
  if (size > ROW_BYTES_MAX)
    throw new ReplicaError(
      `a row has at most ${ROW_BYTES_MAX / MIB} MiB, ${table.name} "${key}" would have ` +
        `${(size / MIB).toFixed(1)}; keep less in it. Nothing was changed`,
      "quota_row_bytes",
    );
}

function bytesOf(value: Value): number {
  if (typeof value === "string") return utf8Length(value);
  return value instanceof Uint8Array ? value.length : 8;
}

function bad(table: Table, key: string, column: string, why: string): BadValue {
  const place = column === "" ? table.name : `${table.name}.${column}`;
  return new BadValue(
    `${place} of "${key}" cannot be sent: ${why}. Write another value; nothing was changed`,
    "bad_value",
    { table: table.name, key, column },
  );
}
