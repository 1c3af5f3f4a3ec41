/**
 * The one replica of this origin, shared by all tabs; everything else in `data/` asks it.
 *
 * Knows: how it is opened and closed, and what this device remembers of itself outside of it. Must not
 * know: products or stock. No token is ever here: it is in a cookie that no script can read.
 */

import { openReplica, type TabReplica } from "@holdfast/browser";

import { keep, recall } from "./memory.js";

const MEMORY = "stockroom.device";

/** What says that this browser is a device: nothing secret, and nothing that cannot be told again. */
export interface Enrolled {
  /** Of the replica: each enrolment has its own file. */
  readonly replica: string;
  readonly user: string;
  readonly device: string;
  /** When the token wants a new one, µs since 1970 by the server's clock. */
  readonly refreshAt: number;
}

let current: TabReplica | null = null;
let known: Enrolled | null = null;

/** What was remembered, as this page last read it. */
export function enrolled(): Enrolled | null {
  return known;
}

/** Read it anew: another tab may have signed in or out. */
export async function recallDevice(): Promise<Enrolled | null> {
  const found = (await recall(MEMORY)) as Enrolled | undefined;
  known = found ?? (await fromLocalStorage());
  return known;
}

/** Durable once it is answered. */
export async function remember(one: Enrolled | null): Promise<void> {
  await keep(MEMORY, one);
  known = one;
}

/** Where earlier versions kept it. */
async function fromLocalStorage(): Promise<Enrolled | null> {
  let found: Enrolled | null = null;
  try {
    found = JSON.parse(localStorage.getItem(MEMORY) ?? "null") as Enrolled | null;
  } catch {
    // What cannot be read tells nothing.
  }
  if (typeof found?.replica !== "string") return null;
  await remember(found);
  localStorage.removeItem(MEMORY);
  return found;
}

/** Throws `ReplicaError` where the browser cannot keep data, or the `SyncError` tree at first. */
export async function openDevice(one: Enrolled): Promise<TabReplica> {
  current ??= await openReplica({ name: one.replica, server: location.origin });
  return current;
}

/** The open replica. */
export function replica(): TabReplica {
  if (current === null) throw new Error("the replica is not open");
  return current;
}

/** Close it and remove its file: only for a device that has nothing of its own any more. */
export async function forget(one: Enrolled): Promise<void> {
  current?.close();
  current = null;
  await remember(null);
  const folder = await navigator.storage.getDirectory();
  for (let attempt = 0; attempt < 40; attempt += 1) {
    try {
      await folder.removeEntry(`.holdfast-${one.replica}`, { recursive: true });
      return;
    } catch (error) {
      if (error instanceof DOMException && error.name === "NotFoundError") return;
      // Another worker is still letting go of the file.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
