/**
 * What went wrong, in words for people who do not know what a server is made of.
 *
 * Knows: the kinds and stable codes of errors. Must not know: where the words are shown. Whose error it
 * is comes first: a full server and a full device have the same code. The engine's own message is said
 * only where nothing else is known.
 */

import {
  failureKind,
  type FailureKind,
  HoldfastError,
  type State,
  stateAfter,
  type Status,
} from "@holdfast/browser";

import { EnrolError } from "../data/enrol.js";
import { formatTime, t, tOr } from "./index.js";

/** Trouble as a person would call it. */
export type Trouble = "away" | "portal" | "server" | "older" | "busy" | "full" | "device";

const BY_KIND: Readonly<Partial<Record<FailureKind, Trouble>>> = {
  network: "away",
  timeout: "away",
  not_our_server: "portal",
  server_error: "server",
  too_many_requests: "busy",
  server_older: "older",
};

/** What this device could not do; asked only where the kind names nobody else. */
const BY_CODE: Readonly<Record<string, Trouble>> = {
  database_full: "full",
  disk_full: "full",
  file_not_kept: "device",
  database: "device",
  database_corrupt: "device",
  bad_value: "device",
  sync_elsewhere: "device",
  unknown: "device",
};

/** Why a device could not sign out. */
const BY_ENROLMENT: Readonly<Record<string, Trouble>> = {
  unreachable: "away",
  not_our_server: "portal",
  server_trouble: "server",
};

const PARKED: Readonly<Partial<Record<State, "signIn" | "upgrade" | "attention">>> = {
  needs_sign_in: "signIn",
  needs_upgrade: "upgrade",
  needs_attention: "attention",
};

/** A clock that is off by less does nobody any harm, as times are corrected. */
export const CLOCK_TOLD_MS = 5 * 60_000;

/** Return what keeps this device from the server now; null when nothing does. */
export function troubleOf(status: Status): Trouble | null {
  const { errorKind, errorCode } = status;
  if (status.state !== "offline" && status.state !== "waiting") return null;
  if (errorKind === null) return "away";
  const known = BY_KIND[errorKind] ?? BY_CODE[errorCode ?? ""];
  if (known !== undefined) return known;
  // Our database failed, or the server was there and refused: neither is the network's doing.
  return errorKind === "local" ? "device" : "server";
}

/** Return what a person has to do before it goes on, as the words call it; null when nothing. */
export function parkedBy(state: State): "signIn" | "upgrade" | "attention" | null {
  return PARKED[state] ?? null;
}

const SOON_S = 60;

/** Return when it is tried again: the minute by the corrected clock, or soon. */
export function whenAgain(status: Status, nowUs: number): string {
  if (status.retryAt === null) return "";
  const seconds = (status.retryAt - nowUs) / 1_000_000;
  if (seconds <= SOON_S) return t("trouble.soon");
  return t("trouble.at", {
    time: formatTime(status.retryAt + (status.clockOffsetMs ?? 0) * 1000),
  });
}

/** Return why something that was asked for was not done, in the words that the status has for the same. */
export function whyNot(error: unknown): string {
  const trouble = error instanceof EnrolError ? BY_ENROLMENT[error.code] : undefined;
  if (trouble !== undefined) return t(`trouble.why.${trouble}`);
  if (!(error instanceof HoldfastError))
    return t("app.failed", { message: error instanceof Error ? error.message : String(error) });
  const parked = parkedBy(stateAfter(error));
  if (parked !== null) return t(`trouble.${parked}`);
  const elsewhere = BY_KIND[failureKind(error)];
  if (elsewhere !== undefined) return t(`trouble.why.${elsewhere}`);
  const here = BY_CODE[error.code];
  const words = here === undefined ? "app.failed" : (`trouble.why.${here}` as const);
  return tOr("trouble.codes", error.code, words, { message: error.message });
}
