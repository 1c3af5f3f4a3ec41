/**
 * The two sides of a conflict, and whose they are as seen from who asks.
 *
 * Knows: the devices and users that a conflict names. Must not know: values, rows, or how it is
 * settled. A side is called `device` (what the device named in the conflict wants, and waits) or
 * `server` (what stands there); these mean the same to everybody. `yours` and `other` depend on who
 * asks: the side of one's own device, or else that of one's own user on another device. Where neither
 * side is, or both are, nobody guesses.
 */

import { UsageError } from "./errors.js";

export type Side = "device" | "server";

/** Choice of the side that stays. `mine` and `theirs` are older names of `device` and `server`. */
export type SideChoice = Side | "yours" | "other" | "mine" | "theirs";

/** Owner of a value; "" for what nobody knows. */
export interface Party {
  readonly user: string;
  readonly device: string;
}

const NAMED: ReadonlyMap<string, Side> = new Map([
  ["device", "device"],
  ["server", "server"],
  ["mine", "device"],
  ["theirs", "server"],
]);

/** The side that belongs to who asks; null when neither does, or both do. */
export const yours = (device: Party, server: Party, asking: Party): Side | null =>
  one(device.device, server.device, asking.device) ?? one(device.user, server.user, asking.user);

/** The side whose name is the one that asks, where only one is. */
function one(device: string, server: string, asking: string): Side | null {
  if (asking === "" || (device === asking) === (server === asking)) return null;
  return device === asking ? "device" : "server";
}

/** The side that `keep` means for who asks. Throws `UsageError`: `bad_choice`, or `unclear_side` where
 * `yours` and `other` mean nothing. */
export function chosenSide(keep: string, device: Party, server: Party, asking: Party): Side {
  const named = NAMED.get(keep);
  if (named !== undefined) return named;
  if (keep !== "yours" && keep !== "other")
    throw new UsageError(
      `'${keep}' is no side of a conflict: keep device, server, yours or other`,
      "bad_choice",
    );
  const own = yours(device, server, asking);
  if (own === null)
    throw new UsageError(
      `neither side is yours alone: device is ${told(device)}; server is ${told(server)}. ` +
        "Keep device or server",
      "unclear_side",
    );
  return (keep === "yours") === (own === "device") ? "device" : "server";
}

function told({ user, device }: Party): string {
  if (user === "" || user === device) return device || "somebody's";
  return `${user}'s, on ${device || "an unknown device"}`;
}
