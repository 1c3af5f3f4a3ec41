/**
 * What an answer that is not a success means for the replica.
 *
 * Knows: statuses, codes and the tree of errors. Must not know: sockets, or the database.
 * A 4xx is believed only when it is ours: JSON with a code and the right echo. All else is somebody
 * on the way (a captive portal, a proxy), and is retried. No failure ends in dropping work (I32).
 */

import { parseRetryAfter } from "../core/backoff.js";
import { type FailureKind, signalOf, type State, transition } from "../core/connectivity.js";
import {
  AttentionNeeded,
  DatabaseError,
  HoldfastError,
  Offline,
  ServerTrouble,
  SignInNeeded,
  SyncError,
  UpgradeNeeded,
} from "../core/errors.js";
import { RETRY_AFTER_MS_MAX } from "../core/limits.js";
import type { ErrorAnswer } from "../protocol/messages.generated.js";
import { faultOf } from "../protocol/validate.js";

const UPGRADE_CODES = new Set(["protocol_version", "schema_mismatch"]);
const ATTENTION_CODES = new Set([
  "nonce_mismatch",
  "epoch_mismatch",
  "wrong_device",
  "number_reused",
  "number_gap",
  "seal_invalid",
  "server_behind",
]);
const NETWORK_SIGN_IN = 511;

/** What answered is not our server, whatever it says. */
export function notOurs(why: string): Offline {
  return new Offline(`what answered is not our server: ${why}`, "not_our_server");
}

/** An answer that began as ours but is not whole. */
export function incomplete(why: string, cause = ""): Offline {
  return new Offline(`the answer did not arrive whole: ${why}`, "broken_answer", { cause });
}

/** The content type without parameters, in lower case. */
export function mediaType(contentType: string): string {
  return (contentType.split(";")[0] ?? "").trim().toLowerCase();
}

export interface Refusal {
  readonly status: number;
  readonly body: string;
  readonly contentType: string;
  /** Whether the header had the request's echo, which the body must have too. */
  readonly echoed: boolean;
  readonly echo: string;
  readonly retryAfter: string;
  readonly nowMs: number;
}

/** The error that an answer stands for which is not 200. */
export function failureOf(answer: Refusal): SyncError {
  const { status } = answer;
  const ours = answer.echoed ? ourError(answer) : null;
  const asked = parseRetryAfter(answer.retryAfter.slice(0, 64), answer.nowMs);
  const waitMs = asked === null ? null : Math.min(asked, RETRY_AFTER_MS_MAX);
  if (status === 429 || (status >= 500 && status <= 599 && status !== NETWORK_SIGN_IN))
    return new ServerTrouble(
      ours?.error.message ?? `status ${status}`,
      ours?.error.code ?? "server_trouble",
      waitMs,
      { status },
    );
  if (ours === null || status < 400 || status > 499) return notOurs(`status ${status}`);
  const { code, message, detail } = ours.error;
  let Kind = SyncError;
  if (status === 401) Kind = SignInNeeded;
  else if (UPGRADE_CODES.has(code)) Kind = UpgradeNeeded;
  else if (ATTENTION_CODES.has(code)) Kind = AttentionNeeded;
  return new Kind(message, code, waitMs, { status, server: detail ?? {} });
}

function ourError(answer: Refusal): ErrorAnswer | null {
  if (mediaType(answer.contentType) !== "application/json") return null;
  try {
    const found: unknown = JSON.parse(answer.body);
    if (faultOf("ErrorAnswer", found) !== null) return null;
    const error = found as ErrorAnswer;
    return error.echo === answer.echo ? error : null;
  } catch {
    return null;
  }
}

const KIND_BY_CODE: Readonly<Record<string, FailureKind>> = {
  unreachable: "network",
  broken_answer: "network",
  timeout: "timeout",
  not_our_server: "not_our_server",
  protocol_version: "protocol_upgrade",
  schema_mismatch: "schema_mismatch",
  nonce_mismatch: "nonce_mismatch",
  epoch_mismatch: "epoch_mismatch",
  server_behind: "seal_mismatch",
  seal_invalid: "seal_mismatch",
  sync_elsewhere: "local",
};

/** A server with these does well, and has too much to do. */
const BUSY_CODES = new Set(["busy", "too_many_streams", "too_many_tries"]);
const TOO_MANY_REQUESTS = 429;

/** What kind of failure an error is, for the session. */
export function failureKind(error: unknown): FailureKind {
  if (!(error instanceof HoldfastError)) return "unknown";
  // What a server in trouble calls it is its own affair: its database is not this device's.
  if (error instanceof ServerTrouble) {
    const isBusy = BUSY_CODES.has(error.code) || error.detail["status"] === TOO_MANY_REQUESTS;
    return isBusy ? "too_many_requests" : "server_error";
  }
  const known = Object.hasOwn(KIND_BY_CODE, error.code) ? KIND_BY_CODE[error.code] : undefined;
  if (known !== undefined) return known;
  if (error instanceof Offline) return "network";
  if (error instanceof SignInNeeded) return "unauthenticated";
  if (error instanceof UpgradeNeeded) return "protocol_upgrade";
  if (error instanceof AttentionNeeded) return "nonce_mismatch";
  return error instanceof DatabaseError ? "local" : "unknown";
}

/** Where an exchange that failed so leaves a replica. */
export function stateAfter(error: unknown): State {
  return transition("syncing", signalOf(failureKind(error)));
}
