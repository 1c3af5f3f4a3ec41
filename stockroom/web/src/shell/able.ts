/**
 * Whether this browser, at this address, can keep work at all: asked before anybody types a password.
 *
 * Knows: what the app cannot do without. Must not know: screens. Without a secure address a browser
 * offers nothing of it, whichever it is; so that is told first.
 */

import { at } from "../data/base.js";

/** Things that the app cannot do without, in the order in which they are told. */
export type Lack = "address" | "storage" | "locks" | "channels" | "worker" | "crypto" | "wasm";

/** Whatever a browser offers to pages; apart, so that another one can be looked at. */
export interface Offers {
  readonly isSecureContext: boolean;
  readonly navigator: {
    readonly storage?: { getDirectory?: (() => Promise<unknown>) | undefined } | undefined;
    readonly locks?: unknown;
    readonly serviceWorker?: unknown;
  };
  readonly BroadcastChannel?: unknown;
  readonly Worker?: unknown;
  readonly WebAssembly?: unknown;
  readonly crypto?: { readonly randomUUID?: unknown; readonly subtle?: unknown } | undefined;
}

/** The first thing that is lacking; null when all is there. */
export async function lacking(offers: Offers): Promise<Lack | null> {
  if (!offers.isSecureContext) return "address";
  const { navigator } = offers;
  if (typeof navigator.storage?.getDirectory !== "function") return "storage";
  if (!navigator.locks) return "locks";
  if (!offers.BroadcastChannel) return "channels";
  if (!offers.Worker || !navigator.serviceWorker) return "worker";
  if (!offers.crypto?.randomUUID || !offers.crypto.subtle) return "crypto";
  if (!offers.WebAssembly) return "wasm";
  try {
    await navigator.storage.getDirectory();
  } catch {
    return "storage"; // some private windows have it, and refuse
  }
  return null;
}

/** The safe addresses of the server, best first, and whether devices have to be told to trust them. */
export interface SafeAddresses {
  readonly urls: readonly string[];
  readonly own_authority: boolean;
}

/** Nothing where the server cannot be asked. */
export async function safeAddresses(): Promise<SafeAddresses> {
  const none = { urls: [], own_authority: false };
  try {
    const answer = await fetch(at("trust/address"), { cache: "no-store" });
    const told = (await answer.json()) as Partial<SafeAddresses>;
    if (!answer.ok || !Array.isArray(told.urls)) return none;
    const urls = told.urls.filter((url) => typeof url === "string" && url.startsWith("https://"));
    return { urls, own_authority: told.own_authority === true };
  } catch {
    return none;
  }
}
