/**
 * What went wrong, in words for people who do not know what a server is made of.
 *
 * Knows: the stable codes of errors. Must not know: where the words are shown. A code that has no words
 * of its own is told by its kind; the engine's own message is never the first thing that is said.
 */

import { HoldfastError, Offline, ServerTrouble, type Status } from "@holdfast/browser";

import { formatTime, t, tOr } from "./index.js";

/** What a person would call it. */
export type Trouble = "away" | "portal" | "server" | "busy" | "full" | "device";

const BY_CODE: Readonly<Record<string, Trouble>> = {
  not_our_server: "portal",
  too_many_requests: "busy",
  database_full: "full",
  disk_full: "full",
  database: "device",
  database_corrupt: "device",
  bad_value: "device",
  sync_elsewhere: "device",
  unknown: "device",
};

/** What keeps this device from the server now; null when nothing does. */
export function troubleOf(status: Status): Trouble | null {
  const known = BY_CODE[status.errorCode ?? ""];
  if (status.state === "offline") return known ?? "away";
  // The server was there, and could not do it: what it calls that is its own affair.
  if (status.state === "waiting") return known ?? (status.errorCode === null ? "away" : "server");
  return null;
}

const SOON_S = 60;

/** When it is tried again: the minute by the corrected clock, or soon. */
export function whenAgain(status: Status, nowUs: number): string {
  if (status.retryAt === null) return "";
  const seconds = (status.retryAt - nowUs) / 1_000_000;
  if (seconds <= SOON_S) return t("trouble.soon");
  return t("trouble.at", {
    time: formatTime(status.retryAt + (status.clockOffsetMs ?? 0) * 1000),
  });
}

/** Why something that was asked for was not done. */
export function whyNot(error: unknown): string {
  if (error instanceof HoldfastError) {
    let known = BY_CODE[error.code];
    if (known === undefined && error instanceof Offline) known = "away";
    if (known === undefined && error instanceof ServerTrouble) known = "server";
    if (known !== undefined && known !== "device") return t(`trouble.why.${known}`);
    return tOr(`trouble.codes.${error.code}`, "app.failed", { message: error.message });
  }
  return t("app.failed", { message: error instanceof Error ? error.message : String(error) });
}
