/**
 * How a replica stands with its server, kept beside its data: one truth for every leader, with a date.
 *
 * Knows: what is known of the connection, and what of it may be said later. Must not know: how to sync.
 * A failure is kept until a success follows it: background sync, a single one, or a verification, of
 * this leader or one before it. Upholds I29: nobody is told of a connection that there is not.
 */

import {
  classify,
  type FailureKind,
  knownKind,
  signalOf,
  transition,
} from "../../core/connection/connectivity.js";
import { HoldfastError } from "../../core/errors.js";
import { failureKind, stateAfter } from "../../core/connection/failures.js";
import { wayOut } from "../../core/connection/waysOut.js";
import { type Known, UNKNOWN } from "./status.js";

export interface Failure {
  readonly errorKind: FailureKind;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly wayOut: string;
}

/** A failure as it is kept and told. */
export function failure(kind: string, code: string, message: string): Failure {
  return {
    errorKind: knownKind(kind),
    errorCode: code,
    errorMessage: message,
    wayOut: wayOut(kind, code),
  };
}

/** Return what of it tells of a failure; null when there is none. */
export function failureOf(known: Known): Failure | null {
  if (known.errorKind === null || known.errorCode === null) return null;
  return failure(known.errorKind, known.errorCode, known.errorMessage ?? "");
}

/** After a success of a person's own sync. */
export function succeeded(nowUs: number): Known {
  return { ...UNKNOWN, state: "online", asOf: nowUs };
}

/** After its failure. */
export function failed(error: HoldfastError, nowUs: number): Known {
  return {
    ...UNKNOWN,
    state: stateAfter(error),
    asOf: nowUs,
    ...failure(failureKind(error), error.code, error.message),
  };
}

/** Return whether it waits for a person, and no answer that sends nothing proves it to be over. */
export function isStuck(known: Known): boolean {
  const kind = known.errorKind;
  return kind !== null && ["attention", "upgrade"].includes(classify(kind));
}

/** Return what is to be kept of it, as a text; "" when there is no failure. */
export function toKeep(known: Known): string {
  const kept = failureOf(known);
  return kept === null ? "" : JSON.stringify({ ...kept, asOf: known.asOf });
}

/** Of a text that is kept: what is so, whenever it was found out. */
export const withoutTime = (text: string): string => text.replace(/"asOf":[^,}]*/, "");

/** Return what a leader before this one has left: the failure, and nothing that was under way. */
export function atRest(text: string | null): Known {
  try {
    const kept = JSON.parse(text ?? "null") as Partial<Known> | null;
    if (typeof kept?.errorKind !== "string" || typeof kept.errorCode !== "string") return UNKNOWN;
    return {
      ...UNKNOWN,
      state: transition("syncing", signalOf(kept.errorKind)),
      asOf: typeof kept.asOf === "number" ? kept.asOf : null,
      ...failure(kept.errorKind, kept.errorCode, kept.errorMessage ?? ""),
    };
  } catch {
    return UNKNOWN;
  }
}

/** Return what is known now, where a failure before it has not been followed by a success yet. */
export function carriedOver(before: Known, now: Known): Known {
  if (now.state === "online" || now.errorCode !== null) return now;
  return { ...now, ...failureOf(before) };
}
