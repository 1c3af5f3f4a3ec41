/**
 * What kind of failure an error is, and where it leaves a replica: decided here, and nowhere else.
 *
 * Knows: the tree of errors and its stable codes. Must not know: how an error came about, or is shown.
 * Whose failure it is comes before what it is called: the same code (`database_full`) may be the
 * server's or the device's own. What nobody knows is `unknown`, which is retried slowly (I32).
 */

import { type FailureKind, signalOf, type State, transition } from "./connectivity.js";
import {
  AttentionNeeded,
  DatabaseError,
  HoldfastError,
  Offline,
  ServerTrouble,
  SignInNeeded,
  UpgradeNeeded,
} from "../errors.js";

const KIND_BY_CODE: Readonly<Record<string, FailureKind>> = {
  unreachable: "network",
  broken_answer: "network",
  timeout: "timeout",
  not_our_server: "not_our_server",
  protocol_version: "protocol_upgrade",
  schema_mismatch: "schema_mismatch",
  server_older: "server_older",
  upgrade_needed: "upgrade_needed",
  nonce_mismatch: "nonce_mismatch",
  epoch_mismatch: "epoch_mismatch",
  seal_invalid: "another_server",
  identity_unsettled: "local",
  sync_elsewhere: "local",
  disk_full: "local",
  file_not_kept: "local",
};

/** A server with these does well, and has too much to do. */
const BUSY_CODES = new Set(["busy", "too_many_requests", "too_many_streams", "too_many_tries"]);
const TOO_MANY_REQUESTS = 429;

/** Return what kind of failure an error is. */
export function failureKind(error: unknown): FailureKind {
  if (!(error instanceof HoldfastError)) return "unknown";
  // What a server in trouble calls it is its own affair: its database is not this device's.
  if (error instanceof ServerTrouble) {
    const isBusy = BUSY_CODES.has(error.code) || error.detail["status"] === TOO_MANY_REQUESTS;
    return isBusy ? "too_many_requests" : "server_error";
  }
  if (error.code === "epoch_mismatch" && !isPast(error)) return "another_server";
  const known = Object.hasOwn(KIND_BY_CODE, error.code) ? KIND_BY_CODE[error.code] : undefined;
  if (known !== undefined) return known;
  if (error instanceof Offline) return "network";
  if (error instanceof SignInNeeded) return "unauthenticated";
  if (error instanceof UpgradeNeeded) return "protocol_upgrade";
  if (error instanceof AttentionNeeded) return "nonce_mismatch";
  return error instanceof DatabaseError ? "local" : "unknown";
}

/** Return whether the server says that this replica's epoch was one of its own. */
function isPast(error: HoldfastError): boolean {
  const server = error.detail["server"];
  return typeof server === "object" && server !== null && "past" in server && server.past === true;
}

/** Return where an exchange that failed so leaves a replica. */
export function stateAfter(error: unknown): State {
  return transition("syncing", signalOf(failureKind(error)));
}
