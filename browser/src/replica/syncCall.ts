/**
 * One sync from beginning to end: exchanges until nothing is pending, and the comparison behind them.
 *
 * Knows: how exchanges follow each other when a person asks. Must not know: when to sync in the
 * background (`runner`), or what an exchange does.
 */

import { SyncError } from "../core/errors.js";
import type { Exchanger } from "./exchange/exchanger.js";
import { barren, type Exchanged, reconciles } from "./exchange/storeAnswer.js";
import type { Verifier } from "./exchange/verify.js";

/** Report of a sync. `verified`: client and server compared equal at the end. */
export interface SyncReport {
  readonly sent: number;
  readonly applied: number;
  readonly refused: number;
  readonly held: number;
  readonly receivedRows: number;
  readonly removedRows: number;
  readonly repairedRows: number;
  /** Rows that were compared because the device had been away for longer than the server remembers
   * removals. */
  readonly reconciledRows: number;
  readonly exchanges: number;
  readonly verified: boolean;
}

/** Exchange until nothing is pending and both sides compare equal. `onStored`: news were applied, or
 * outcomes. Throws the `SyncError` tree after the first attempt that fails. */
export async function syncToEnd(
  exchanger: Exchanger,
  verifier: Verifier,
  onStored: () => void,
): Promise<SyncReport> {
  const total = { sent: 0, applied: 0, refused: 0, held: 0, receivedRows: 0, removedRows: 0 };
  let exchanges = 0;
  let done: Exchanged;
  do {
    done = await exchanger.exchange();
    onStored();
    exchanges += 1;
    total.sent += done.sent;
    total.applied += done.applied.applied;
    total.refused += done.applied.refused;
    total.held += done.applied.held;
    total.receivedRows += done.applied.rows;
    total.removedRows += done.applied.removed;
    if (barren(done))
      throw new SyncError(
        "the server returned no outcome for the transactions that it was sent",
        "no_progress",
      );
  } while (done.left > 0);
  const report = { ...total, repairedRows: 0, reconciledRows: 0, exchanges, verified: true };
  if (done.applied.differing.length === 0) return report;
  const fixed = await verifier.verify(false);
  onStored();
  const counted = reconciles(done) ? "reconciledRows" : "repairedRows";
  return { ...report, [counted]: fixed.repaired, verified: fixed.ok };
}
