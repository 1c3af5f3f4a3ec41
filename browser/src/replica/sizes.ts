/**
 * Nothing is committed that could not be sent: the size of a transaction, looked at in its commit.
 *
 * Knows: the log, the outbox and the limits of a message. Must not know: when it is sent.
 * A bound is looked at first, which costs a read of what the transaction has just written. Only what may
 * be too large is sealed at once, and measured as it would travel.
 */

import { BadValue, ReplicaError } from "../core/errors.js";
import { MIB, TRANSACTION_BYTES_MAX, TRANSACTION_CHANGES_MAX } from "../core/limits.js";
import { utf8Length } from "../core/values.js";
import { whole } from "../sqlite/connection.js";
import type { LocalDatabase } from "./database.js";
import { changeMessage } from "./outbox.js";
import { noteOf } from "./overlay.js";

/** What a transaction has besides its changes, generously. */
const AROUND_BYTES = 4096;

/** Refuse the transaction whose mark is at a place of the log, if it is too large. Throws `ReplicaError`
 * (`too_many_changes`, `too_large`). */
export function checkSize(database: LocalDatabase, end: number, seal: () => unknown): void {
  const { connection, program } = database;
  const [before] = connection.execute(
    "SELECT seq FROM holdfast_log WHERE tbl = '' AND seq < ? ORDER BY seq DESC LIMIT 1",
    [BigInt(end)],
  );
  const start = before === undefined ? 0 : whole(before[0]);
  const few = end - start - 1 <= TRANSACTION_CHANGES_MAX;
  if (few && bound(database, start) <= TRANSACTION_BYTES_MAX) return;
  seal();
  const [newest] = connection.execute("SELECT coalesce(max(number), 0) FROM holdfast_tx");
  const number = newest?.[0] ?? 0n;
  let [changes, size] = [0, AROUND_BYTES];
  for (const table of program.tables)
    for (const row of connection.execute(program.statements(table).changes, [number, number])) {
      changes += 1;
      try {
        size += 1 + utf8Length(JSON.stringify(changeMessage(table, noteOf(table, row))));
      } catch (error) {
        if (!(error instanceof BadValue)) throw error;
        throw new ReplicaError(error.message, error.code);
      }
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

function bound({ connection, program }: LocalDatabase, start: number): number {
  const place = [BigInt(start)];
  return connection
    .execute(program.json.log_tables_after, place)
    .map(([name]) => program.json.tables[String(name)]?.log_weight ?? "")
    .map((sql) => whole(connection.execute(sql, place)[0]?.[0]))
    .reduce((sum, size) => sum + size, 0);
}
