/**
 * How much waits in the outbox, without counting it one by one.
 *
 * Knows: how the outbox is numbered. Must not know: who asks, or what is sent next.
 * Numbers have no gaps (I9), they are settled in order, and what was sent comes before what was not: so
 * the transactions that were never sent are the last ones, from the lowest that is `pending` to the
 * highest there is. Before them stand the few that were sent and not answered, and those that wait for a
 * person.
 */

import { whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "./database.js";

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

/** Return whether anything was sealed that has no outcome yet. */
export function anyUnsettled({ connection, bookkeeping }: LocalDatabase): boolean {
  return connection.execute(bookkeeping.transactions.first_unsettled).length > 0;
}

/** Return what waits now. */
export function readWaiting({ connection, bookkeeping }: LocalDatabase): Waiting {
  const { transactions } = bookkeeping;
  const [last] = connection.execute(transactions.newest);
  const lowest = (sql: string): readonly [number, number] | null => {
    const [row] = connection.execute(sql);
    return row === undefined ? null : [whole(row[0]), whole(row[1])];
  };
  const unsent = lowest(transactions.first_pending);
  const unsettled = lowest(transactions.first_unsettled);
  const end = typeof last?.[0] === "bigint" ? whole(last[0]) + 1 : 1;
  const begin = unsent === null ? end : unsent[0];
  const states = new Map(
    connection
      .execute(transactions.count_by_state, [BigInt(begin)])
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
