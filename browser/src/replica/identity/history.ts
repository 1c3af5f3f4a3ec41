/**
 * What has happened to a replica: copied, restored, made anew, migrated; and what came of it.
 *
 * Knows: the table of events. Must not know: how it is found out. Counts follow outcomes as they come.
 */

import { type HistoryKind, historyText } from "../../core/connection/history.js";
import type { Value } from "../../core/values.js";
import { whole } from "../../sqlite/connection.js";
import type { Host } from "../host.js";
import type { LocalDatabase } from "../storage/database.js";

/** An event. `at`: microseconds since 1970; `resent`: transactions that were offered again, of which
 * `alreadyThere` had arrived before and `toInbox` wait for a person; `text`: a sentence for one. */
export interface HistoryEvent {
  readonly at: number;
  readonly kind: HistoryKind;
  readonly resent: number;
  readonly alreadyThere: number;
  readonly toInbox: number;
  readonly text: string;
}

/** Outcomes of what is offered again. */
export interface OfferedAgain {
  readonly resent: number;
  readonly alreadyThere: number;
  readonly toInbox: number;
}

/** Note one, in a write transaction of the caller's. `since`: the moment of the older state, if any. */
export function addEvent(
  { connection, bookkeeping }: LocalDatabase,
  host: Host,
  kind: HistoryKind,
  since: Value = null,
): void {
  connection.execute(bookkeeping.events.add, [BigInt(host.nowUs()), kind, since, ""]);
}

/** Count outcomes of what the newest fork offers again. */
export function countAgain(
  { connection, bookkeeping }: LocalDatabase,
  { resent, alreadyThere, toInbox }: OfferedAgain,
): void {
  if (resent > 0)
    connection.execute(bookkeeping.events.count, [
      BigInt(resent),
      BigInt(alreadyThere),
      BigInt(toInbox),
    ]);
}

/** All events, oldest first. */
export function readHistory({ connection, bookkeeping }: LocalDatabase): HistoryEvent[] {
  return connection
    .execute(bookkeeping.events.all)
    .map(([at, kind, since, resent, alreadyThere, toInbox, text]) => {
      const [again, there, inbox] = [whole(resent), whole(alreadyThere), whole(toInbox)];
      const moment = typeof since === "bigint" ? Number(since) : null;
      return {
        at: whole(at),
        kind: String(kind) as HistoryKind,
        resent: again,
        alreadyThere: there,
        toInbox: inbox,
        text: String(text) || historyText(String(kind), moment, again, there, inbox),
      };
    });
}
