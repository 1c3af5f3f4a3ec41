/**
 * The main ways through the app, and which of them a screen lies on.
 *
 * Knows: addresses. Must not know: how the ways are drawn. The same five for everybody: devices are shared, and hands
 * remember places.
 */

import type { Under } from "../i18n/index.js";
import type { IconName } from "../ui/Icon.svelte";

export type WayName = Exclude<Under<"nav">, "groups" | "main">;

export interface Way {
  readonly name: WayName;
  readonly to: string;
  readonly icon: IconName;
}

const TODAY: Way = { name: "today", to: "today", icon: "home" };
const STOCK: Way = { name: "stock", to: "stock", icon: "box" };
const SCAN: Way = { name: "scan", to: "scan", icon: "scan" };
const NEEDS: Way = { name: "needs", to: "needs", icon: "ask" };

/** Along the lower edge of a phone. */
export const TABS: readonly Way[] = [
  TODAY,
  STOCK,
  SCAN,
  { name: "work", to: "work", icon: "work" },
  NEEDS,
];

/** At the side of a wider page: first what everybody needs all day, then work. */
export const SIDE: readonly Way[] = [TODAY, NEEDS, STOCK, SCAN];
export const SIDE_WORK: readonly Way[] = [{ name: "deliveries", to: "work", icon: "truck" }];

/** Which way a screen lies on, by the first part of its address; "" where it lies on none. */
const ON: Readonly<Record<string, string>> = {
  today: "today",
  stock: "stock",
  product: "stock",
  movements: "stock",
  scan: "scan",
  receive: "work",
  work: "work",
  needs: "needs",
};

export const wayOf = (screen: string): string => ON[screen] ?? "";

/** Addresses of before, which links and habits still have. */
const MOVED: Readonly<Record<string, string>> = {
  sync: "saved",
  "sync/waiting": "saved",
  "sync/needs": "needs",
  "sync/history": "saved/log",
  "sync/device": "saved/device",
};

/** Destination of an address of before; null where it is one of today's. */
export function movedTo(path: readonly string[]): string | null {
  return path[0] === "sync" ? (MOVED[path.join("/")] ?? "saved") : null;
}
