/**
 * A fork: this replica becomes one of its own, where it and another one were taken for the same.
 *
 * Knows: by which refusals of the server a copy, an older state or a restored server shows, and what is
 * set then. Must not know: how an exchange is made. One transaction: who it was is noted as its origin,
 * under which the server knows what had arrived. Nothing is renumbered. Upholds I4, I5, I7.
 */

import { SyncError } from "../../core/errors.js";
import type { HistoryKind } from "../../core/connection/history.js";
import { whole } from "../../sqlite/connection.js";
import { seal } from "../changes/seal.js";
import { type Host, randomHex } from "../host.js";
import type { LocalDatabase } from "../storage/database.js";
import { addEvent } from "./history.js";
import { offerKept } from "./kept.js";

/** Bytes of a replica's name. */
export const NAME_BYTES = 16;

/** A refusal's word on a replica that it takes for another one. */
export interface Parting {
  /** Whether the server has begun a new epoch, and knows the one that this replica has synced in. */
  readonly restored: boolean;
  /** The highest number that the server knows of this replica; 0: it does not say. */
  readonly high: number;
}

/** Return what a refusal says, where it is one that a fork ends; else null. */
export function partingOf(error: unknown): Parting | null {
  if (!(error instanceof SyncError)) return null;
  const server = error.detail["server"];
  const told = typeof server === "object" && server !== null ? server : {};
  const { past, high } = told as { readonly past?: unknown; readonly high?: unknown };
  if (error.code === "epoch_mismatch") return past === true ? { restored: true, high: 0 } : null;
  // Numbers that it has decided are lost, and nothing else: no position proves that it was restored.
  if (error.code === "number_gap")
    return typeof high === "number" ? { restored: true, high } : null;
  if (error.code !== "nonce_mismatch" && error.code !== "number_reused") return null;
  return { restored: false, high: typeof high === "number" ? high : 0 };
}

/** Be another replica from now on, in a write transaction of the caller's. */
export function fork(database: LocalDatabase, host: Host, parting: Parting): void {
  seal(database, host);
  const { connection, bookkeeping } = database;
  const [next, verified, forks] = database.state("open_tx", "verified_us", "forks");
  // A fork that no answer has followed is perhaps not known to the server, which could not go on from it
  // to what it has come out of. A nonce that does not match proves that it is.
  if (parting.restored && whole(forks) > 0) connection.execute(bookkeeping.identity.offer);
  else connection.execute(bookkeeping.identity.fork, [randomHex(host, NAME_BYTES)]);
  let kind: HistoryKind = parting.high >= whole(next) ? "restored" : "copied";
  if (parting.restored) {
    kind = "server_restored";
    offerKept(database);
    database.writeState({ epoch: "" }); // positions stay: they are signed, and tell where it stood
  }
  addEvent(database, host, kind, verified ?? null);
}
