/**
 * Kept transactions: what the server has acknowledged, until a backup of it has them, too.
 *
 * Knows: the table of kept transactions, and their messages. Must not know: when a server was restored.
 * A server that comes back from a backup has lost what came after it; whoever made it still has it here,
 * as it was sent, and offers it again. What a backup has is kept for two days all the same: the one before
 * it may be restored. Upholds I5; I31 by an age and a size.
 */

import { keyText, type Row } from "../../core/keys.js";
import {
  KEPT_BYTES_MAX,
  KEPT_SAVED_US,
  KEPT_STEP_ROWS,
  KEPT_US,
  PUSH_BYTES_SOFT,
  PUSH_CHANGES_MAX,
  PUSH_TRANSACTIONS_MAX,
} from "../../core/limits.js";
import { policyOf } from "../../core/merging/policies.js";
import type { Table } from "../../core/schema.js";
import { fromWire, utf8Length, type Value } from "../../core/values.js";
import type { Change, Outcome, Transaction } from "../../protocol/messages.generated.js";
import { whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";

/** Keep what was just acknowledged, in a write transaction of the caller's. `generation`: under which
 * it was made. */
export function keep(
  { connection, bookkeeping }: LocalDatabase,
  transaction: Transaction,
  generation: number,
  nowUs: number,
): void {
  const body = JSON.stringify(transaction);
  connection.execute(bookkeeping.kept.put, [
    BigInt(transaction.number),
    transaction.id,
    BigInt(transaction.at),
    BigInt(nowUs),
    BigInt(generation),
    body,
  ]);
  connection.execute(bookkeeping.kept.add_bytes, [BigInt(utf8Length(body))]);
}

/** Give up what a backup has for some time, or what has waited for one too long: a step of it. `backedUp`: the number up
 * to which a backup has all. */
export function giveUp(database: LocalDatabase, backedUp: number, nowUs: number): void {
  const { connection, bookkeeping } = database;
  const [bytes, known, lost] = database.state("kept_bytes", "backed_up", "kept_lost");
  if (backedUp > whole(known)) database.writeState({ backed_up: BigInt(backedUp) });
  const safe = Math.max(backedUp, whole(known));
  // The oldest one tells whether there is anything to do.
  let found = givenUp(database, { count: 1, safe, nowUs, bytes: whole(bytes) });
  if (found.upTo === 0) return;
  found = givenUp(database, { count: KEPT_STEP_ROWS, safe, nowUs, bytes: whole(bytes) });
  connection.execute(bookkeeping.kept.remove, [BigInt(found.upTo)]);
  connection.execute(bookkeeping.kept.add_bytes, [BigInt(-found.freed)]);
  if (found.unsaved > 0) database.writeState({ kept_lost: BigInt(whole(lost) + found.unsaved) });
}

/** Of the oldest ones (`count`) those that are given up: the last number, their bytes, and how many of
 * them no backup has. */
function givenUp(
  { connection, bookkeeping }: LocalDatabase,
  { count, safe, nowUs, bytes }: Record<"count" | "safe" | "nowUs" | "bytes", number>,
): Record<"upTo" | "freed" | "unsaved", number> {
  const found = { upTo: 0, freed: 0, unsaved: 0 };
  const oldest = connection.execute(bookkeeping.kept.first, [BigInt(count)]);
  for (const [number, decided, size, again] of oldest) {
    const isSafe = whole(number) <= safe;
    const isOld = whole(decided) < nowUs - (isSafe ? KEPT_SAVED_US : KEPT_US);
    if (again === 1n || !(isOld || bytes - found.freed > KEPT_BYTES_MAX)) break;
    found.upTo = whole(number);
    found.freed += whole(size);
    if (!isSafe) found.unsaved += 1;
  }
  return found;
}

/** Forget what was done to rows (table and key) that may not be here any longer. */
export function forgetRows(
  { connection, bookkeeping, program }: LocalDatabase,
  rows: readonly (readonly [string, string])[],
): void {
  const lost = new Set(rows.map((place) => JSON.stringify(place)));
  const isLost = (change: Change): boolean => {
    const table = program.byName.get(change.table);
    if (table === undefined) return false;
    return lost.has(JSON.stringify([table.name, keyText(table, changeKey(table, change))]));
  };
  for (const [number = 0n, body] of connection.execute(bookkeeping.kept.bodies)) {
    if (!(JSON.parse(String(body)) as Transaction).changes.some(isLost)) continue;
    connection.execute(bookkeeping.kept.add_bytes, [BigInt(-utf8Length(String(body)))]);
    connection.execute(bookkeeping.kept.drop, [number]);
  }
}

/** Offer all of it again. */
export function offerKept({ connection, bookkeeping }: LocalDatabase): void {
  connection.execute(bookkeeping.kept.offer);
}

/** The next ones to go up of what is offered again, as they were sent then. */
export function offeredAgain({ connection, bookkeeping }: LocalDatabase): Transaction[] {
  const batch: Transaction[] = [];
  let [changesLeft, bytesLeft] = [PUSH_CHANGES_MAX, PUSH_BYTES_SOFT];
  const found = connection.execute(bookkeeping.kept.offered, [BigInt(PUSH_TRANSACTIONS_MAX)]);
  for (const [, , , body] of found) {
    const one = JSON.parse(String(body)) as Transaction;
    changesLeft -= one.changes.length;
    bytesLeft -= String(body).length;
    if (batch.length > 0 && (changesLeft < 0 || bytesLeft < 0)) break;
    batch.push(one);
  }
  return batch;
}

/** Count what is offered again. */
export function countOffered({ connection, bookkeeping }: LocalDatabase): number {
  return whole(connection.execute(bookkeeping.kept.span)[0]?.[2]);
}

/** Number and id of those that are offered again, between two numbers. */
export function offeredIds(
  { connection, bookkeeping }: LocalDatabase,
  first: number,
  last: number,
): Map<number, string> {
  const found = connection.execute(bookkeeping.kept.offered_ids, [BigInt(first), BigInt(last)]);
  return new Map(found.map(([number, id]) => [whole(number), String(id)]));
}

/** One has its outcome, and is there: it is kept on. */
export function settleKept({ connection, bookkeeping }: LocalDatabase, number: number): void {
  connection.execute(bookkeeping.kept.settle, [BigInt(number)]);
}

/** Codes with which work that is held waits for rows that another device is to offer again. */
export const AWAITED: readonly string[] = ["row_gone", "foreign_key"];

/** The outcome of what was made before the server went back, as it is noted: what rests on a row that its
 * maker has not offered again yet waits for that. */
export function awaited(outcome: Outcome): Outcome {
  if (outcome.outcome !== "refused" || !AWAITED.includes(outcome.code ?? "")) return outcome;
  return { ...outcome, outcome: "held" };
}

/** One was not taken this time: it is in the outbox again, where an outcome finds it, and no longer
 * kept. */
export function putBack(database: LocalDatabase, number: number): void {
  const { connection, bookkeeping, program } = database;
  const [[body, generation] = []] = connection.execute(bookkeeping.kept.body, [BigInt(number)]);
  const { id, at, changes, after, replaces } = JSON.parse(String(body)) as Transaction;
  connection.execute(bookkeeping.kept.drop, [BigInt(number)]);
  connection.execute(bookkeeping.kept.add_bytes, [BigInt(-utf8Length(String(body)))]);
  connection.execute(bookkeeping.transactions.put_back, [
    BigInt(number),
    id,
    BigInt(at),
    JSON.stringify(after ?? []),
    BigInt(replaces ?? 0),
    generation ?? 1n,
  ]);
  for (const change of changes) {
    const table = program.byName.get(change.table);
    if (table === undefined) continue;
    const sql = program.statements(table);
    const key = changeKey(table, change);
    const [row] = connection.execute(sql.select_row, key);
    connection.execute(sql.put_change, [
      BigInt(number),
      keyText(table, key),
      change.op === "insert" ? 0n : 1n,
      change.op === "delete" ? 0n : 1n,
      BigInt(change.base ?? 0),
      JSON.stringify(change.bases ?? {}),
      ...changeImages(table, change, row ?? null),
    ]);
    connection.execute(program.json.add_noted, [table.name]);
  }
}

/** The values of the key of a change's row. */
export function changeKey(table: Table, change: Change): Value[] {
  return table.keyColumns.map(({ type, scale }, at) => fromWire(type, change.key[at], scale));
}

/** A change's data columns before it, and after it. What it does not say of a row is as the row is. */
export function changeImages(table: Table, change: Change, row: Row | null): Value[] {
  const old: Value[] = [];
  const fresh: Value[] = [];
  for (const column of table.dataColumns) {
    const { name, type, scale, defaultValue } = column;
    const said = (by: Readonly<Record<string, unknown>> = {}): Value | undefined =>
      name in by ? fromWire(type, by[name], scale) : undefined;
    const stands = row === null ? defaultValue : (row[table.positions.get(name) ?? -1] ?? null);
    const [was, now] = [said(change.old), said(change.new)];
    let [before, after] = [was === undefined ? stands : was, now === undefined ? stands : now];
    const { replaces, between } = policyOf(column);
    if (change.op === "update" && !replaces && now !== undefined) [before, after] = between(now);
    old.push(change.op === "insert" ? null : before);
    fresh.push(change.op === "delete" ? null : after);
  }
  return [...old, ...fresh];
}
