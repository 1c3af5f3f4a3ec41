/**
 * What an answer that is not a success means for the replica.
 *
 * Knows: statuses, codes and the tree of errors. Must not know: sockets, or the database.
 * A 4xx is believed only when it is ours: JSON with a code and the right echo. All else is somebody
 * on the way (a captive portal, a proxy), and is retried. No failure ends in dropping work (I32).
 */

import { parseRetryAfter } from "../core/backoff.js";
import {
  AttentionNeeded,
  Offline,
  ServerTrouble,
  SignInNeeded,
  SyncError,
  UpgradeNeeded,
} from "../core/errors.js";
import { RETRY_AFTER_MS_MAX } from "../core/limits.js";
import type { ErrorAnswer } from "../protocol/messages.generated.js";
import { faultOf } from "../protocol/validate.js";

const UPGRADE_CODES = new Set(["protocol_version", "schema_mismatch", "upgrade_needed"]);
const ATTENTION_CODES = new Set([
  "nonce_mismatch",
  "epoch_mismatch",
  "wrong_device",
  "number_reused",
  "number_gap",
  "seal_invalid",
]);
const NETWORK_SIGN_IN = 511;

/** Return what answered is not our server, whatever it says. */
export function notOurs(why: string): Offline {
  return new Offline(`the response is not from the Holdfast server: ${why}`, "not_our_server");
}

/** An answer that began as ours but is not whole. */
export function incomplete(why: string, cause = ""): Offline {
  return new Offline(`the response is incomplete: ${why}`, "broken_answer", { cause });
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
