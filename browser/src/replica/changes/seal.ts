/**
 * Sealing: what the log holds becomes numbered transactions in the outbox.
 *
 * Knows: the log and the outbox tables. Must not know: the network.
 * A commit only sets a `mark` behind its notes: one append. `seal` makes the whole log into notes of
 * the outbox, before anything is sent and, in the same transaction, before news are applied: it
 * tells what came after a touch by what the tables hold now.
 * Drawn at the head of `engine/src/holdfast/replica/changes/seal.py`.
 * Upholds I2, I4 (every sealed transaction has a number and an id), I9.
 */

import { nextStamp } from "../../core/clock.js";
import { DatabaseError } from "../../core/errors.js";
import { derivedId, transactionId } from "../../core/ids.js";
import { LOG_NOTES_MAX, LOG_NOTES_SHOWN } from "../../core/limits.js";
import type { Table } from "../../core/schema.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";
import { sealedNow } from "./dependence.js";
import { checkFit } from "./fit.js";
import type { Host } from "../host.js";
import type { TableProgram } from "../storage/program.js";
import { isUtf8, spelled } from "./utf8.js";

/** End the open group, if anything was noted in it; a long log is sealed. Throws
 * `ReplicaError` or `BadValue` when it cannot be sent, for the caller to undo all. */
export function mark(database: LocalDatabase, host: Host): void {
  const now = BigInt(host.nowUs());
  const [length] = database.connection.execute(database.program.json.mark, [now, 0n]);
  if (length === undefined) return;
  checkFit(database, whole(length[0]), () => seal(database, host));
  if (whole(length[0]) > LOG_NOTES_MAX) seal(database, host);
}

/** Return whether anything was written that is not sealed yet, net change or not. */
export function isLogged(database: LocalDatabase): boolean {
  return database.connection.execute(database.program.json.log_last).length > 0;
}

/** Return how many transactions are written and not sealed yet. */
export function openGroups(database: LocalDatabase): number {
  if (!isLogged(database)) return 0;
  return whole(database.connection.execute(database.program.json.open_groups)[0]?.[0]);
}

/** Seal a long log before it is looked at: the views read it from end to end. */
export function sealLong(database: LocalDatabase, host: Host): void {
  const [last] = database.connection.execute(database.program.json.log_last);
  if (last !== undefined && whole(last[0]) > LOG_NOTES_SHOWN)
    database.connection.transaction(() => seal(database, host));
}

/** Keys of a table that were written and not sealed yet. */
export function openKeys(database: LocalDatabase, table: Table): Set<string> {
  const found = database.connection.execute(database.program.statements(table).log_keys);
  return new Set(found.map(([key]) => String(key)));
}

/** Seal all that the log holds; the number of the open group, or null when it has no net change.
 * Inside a write transaction. `replaces`: the refused transaction that the open group makes again. */
export function seal(database: LocalDatabase, host: Host, replaces = 0): number | null {
  const { connection, program } = database;
  const [last] = connection.execute(program.json.log_last);
  if (last === undefined) return null;
  const [openTx, stamp] = database.state("open_tx", "stamp_us");
  const first = whole(openTx);
  const ends = connection
    .execute(program.json.marks)
    .map(([, at, , salt]) => ({ at: at === null ? host.nowUs() : whole(at), salt }));
  // A note of an older format has no salt, and its file knows no replica.
  const hasSalts = [...ends.map(({ salt }) => salt), last[2]].some(
    (salt) => typeof salt === "bigint",
  );
  const [replica = ""] = hasSalts ? database.texts("replica") : [];
  const isOpen = last[1] !== "";
  if (isOpen) ends.push({ at: host.nowUs(), salt: last[2] });
  const touched = new Set(
    connection.execute(program.json.log_tables).map(([name]) => String(name)),
  );
  const tables = program.tables.filter((table) => touched.has(table.name));
  const marred = new Set<number>();
  for (const table of tables) {
    const sql = program.statements(table);
    connection.execute(sql.fold);
    connection.execute(program.json.add_noted, [table.name]);
    for (const group of mend(connection, sql, first)) marred.add(group);
  }
  connection.execute(program.json.empty_log);
  const numbers = numbered(database, tables, first);
  const newest = first + ends.length - 1;
  let stampUs = whole(stamp);
  let made = 0;
  ends.forEach(({ at, salt }, index) => {
    const group = first + index;
    const number = numbers.get(group);
    if (number === undefined) return;
    stampUs = nextStamp(stampUs, at);
    made += 1;
    connection.execute(database.bookkeeping.transactions.add, [
      BigInt(number),
      // The same wherever this group is sealed, in a copy too.
      typeof salt === "bigint"
        ? derivedId(replica, BigInt(number), salt)
        : transactionId(host.randomBytes),
      BigInt(stampUs),
      BigInt(isOpen && group === newest ? replaces : 0),
      marred.has(group) ? "bad_value" : "",
      0n, // nobody else writes the file
    ]);
  });
  if (made !== numbers.size) throw new DatabaseError("the log's groups and its notes do not agree");
  for (const [number, earlier] of sealedNow(database, tables, first))
    connection.execute(database.bookkeeping.transactions.set_after, [
      JSON.stringify([...earlier].sort((a, b) => a - b)),
      BigInt(number),
    ]);
  database.writeState({ open_tx: BigInt(first + made), stamp_us: BigInt(stampUs) });
  return isOpen ? (numbers.get(newest) ?? null) : null;
}

/** Keep text that is not UTF-8 as bytes, so that the outbox can be read; groups with such keys. */
function mend(connection: Connection, sql: TableProgram, first: number): Set<number> {
  const bad = new Set<number>();
  for (const [rowid, group, key, ...texts] of connection.execute(sql.odd_texts, [BigInt(first)])) {
    const name = isUtf8(key) ? null : spelled(key as Uint8Array);
    const flags = texts.map((text) => (isUtf8(text) ? 0n : 1n));
    if (name === null && !flags.includes(1n)) continue;
    if (name !== null) bad.add(whole(group));
    connection.execute(sql.mend_texts, [name, ...flags, rowid ?? null]);
  }
  return bad;
}

/** The number of each group that has a net change: those that have none leave no gap. */
function numbered(
  { connection, program }: LocalDatabase,
  tables: readonly Table[],
  first: number,
): Map<number, number> {
  const groups = new Set<number>();
  for (const table of tables)
    for (const [group] of connection.execute(program.statements(table).groups, [BigInt(first)]))
      groups.add(whole(group));
  const sorted = [...groups].sort((a, b) => a - b);
  const numbers = new Map(sorted.map((group, index) => [group, first + index]));
  // Downwards, in order: a number is free before it is taken.
  for (const table of tables)
    for (const [group, number] of numbers)
      if (number !== group)
        connection.execute(program.statements(table).renumber, [BigInt(number), BigInt(group)]);
  return numbers;
}
