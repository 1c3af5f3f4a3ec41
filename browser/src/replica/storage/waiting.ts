/**
 * How much waits in the outbox, without counting it one by one.
 *
 * Knows: how the outbox is numbered. Must not know: who asks, or what is sent next.
 * Numbers have no gaps (I9), they are settled in order, and what was sent comes before what was not: so
 * the transactions that were never sent are the last ones, from the lowest that is `pending` to the
 * highest there is. Before them stand the few that were sent and not answered, and those that wait for a
 * person.
 */

import { type Connection, whole } from "../../sqlite/connection.js";

/** Transactions of the outbox by state. `first`: the lowest number that is not settled, `oldest` its
 * time (microseconds since 1970), `oldestPending` that of the lowest which was never sent. */
export interface Waiting {
  readonly pending: number;
  readonly sent: number;
  readonly held: number;
  readonly refused: number;
  readonly first: number | null;
  readonly oldest: number | null;
  readonly oldestPending: number | null;
}

/** Whether anything was sealed that has no outcome yet. */
export function anyUnsettled(db: Connection): boolean {
  const sql = "SELECT 1 FROM holdfast_tx WHERE state IN ('pending', 'sent') LIMIT 1";
  return db.execute(sql).length > 0;
}

/** What waits now. */
export function readWaiting(db: Connection): Waiting {
  const [last] = db.execute("SELECT max(number) FROM holdfast_tx");
  const lowest = (states: string): readonly [number, number] | null => {
    const [row] = db.execute(
      `SELECT number, at FROM holdfast_tx WHERE state IN (${states}) ORDER BY number LIMIT 1`,
    );
    return row === undefined ? null : [whole(row[0]), whole(row[1])];
  };
  const unsent = lowest("'pending'");
  const unsettled = lowest("'pending', 'sent'");
  const end = typeof last?.[0] === "bigint" ? whole(last[0]) + 1 : 1;
  const begin = unsent === null ? end : unsent[0];
  const states = new Map(
    db
      .execute("SELECT state, count(*) FROM holdfast_tx WHERE number < ? GROUP BY state", [
        BigInt(begin),
      ])
      .map(([state, count]) => [String(state), whole(count)]),
  );
  return {
    pending: end - begin,
    sent: states.get("sent") ?? 0,
    held: states.get("held") ?? 0,
    refused: states.get("refused") ?? 0,
    first: unsettled === null ? null : unsettled[0],
    oldest: unsettled === null ? null : unsettled[1],
    oldestPending: unsent === null ? null : unsent[1],
  };
}
