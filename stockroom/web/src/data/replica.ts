/**
 * The one replica of this origin, shared by all tabs; everything else in `data/` asks it.
 *
 * Knows: how it is opened and closed, and what this device remembers of itself outside of it. Must not
 * know: products or stock. No token is ever here: it is in a cookie that no script can read.
 */

import { openReplica, type TabReplica } from "@holdfast/browser";

import { serverUrl } from "./base.js";
import { keep, recall } from "./memory.js";
import { answers, type Question } from "./rows.js";

const MEMORY = "stockroom.device";
/** Replicas that were signed out and whose files may still be here. */
const OWED = "stockroom.forgotten";
const REMOVE_TRIES_MAX = 40;
const REMOVE_PAUSE_MS = 50;

/** Record that this browser is a device: nothing secret, and nothing that cannot be told again. */
export interface Enrolled {
  /** Of the replica: each enrolment has its own file. */
  readonly replica: string;
  readonly user: string;
  readonly device: string;
  /** When the token wants a new one, µs since 1970 by the server's clock. */
  readonly refreshAt: number;
}

let current: TabReplica | null = null;
let currentName = "";
let known: Enrolled | null = null;

/** Return what was remembered, as this page last read it. */
export function enrolled(): Enrolled | null {
  return known;
}

/** Read it anew: another tab may have signed in or out. */
export async function recallDevice(): Promise<Enrolled | null> {
  known = ((await recall(MEMORY)) as Enrolled | undefined) ?? null;
  return known;
}

/** Durable once it is answered. */
export async function remember(one: Enrolled | null): Promise<void> {
  await keep(MEMORY, one);
  known = one;
}

/**
 * `ended`: called when another tab has signed out; nothing that is done here would be sent any more.
 * `outdated`: called when another tab runs a newer version of the app; nothing is written here any more.
 * `salvage`: whether a damaged file is made anew with the work that can be read in it.
 * Throws `ReplicaError` where the browser cannot keep data, or the `SyncError` tree at first.
 */
export async function openDevice(
  one: Enrolled,
  ended: () => void,
  outdated: () => void,
  salvage = false,
): Promise<TabReplica> {
  if (current !== null) return current;
  const { default: program } = await import("virtual:replica-program");
  const [name, server] = [one.replica, serverUrl()];
  current = await openReplica({ name, server, program, outdated, salvage });
  currentName = one.replica;
  endings(one.replica).onmessage = () => {
    if (current === null) return; // it is this tab that has
    current.close();
    current = null;
    ended();
  };
  return current;
}

/** True when what is open is the replica of this device: another tab may have become another one. */
export const isOpen = (one: Enrolled | null): boolean =>
  current !== null && one !== null && one.replica === currentName;

/** The open replica. */
export function replica(): TabReplica {
  if (current === null) throw new Error("the replica is not open");
  return current;
}

/** The rows that answer a question now. */
export const ask = async <T>(question: Question<T>): Promise<T[]> =>
  await answers(question, (sql, params) => replica().query(sql, params));

const endings = (name: string): BroadcastChannel => new BroadcastChannel(`stockroom.ended.${name}`);

/** Close it in all tabs and remove its file: only for a device that has nothing of its own any more. */
export async function forget(one: Enrolled): Promise<void> {
  // First: whatever ends this tab from here on, the file is owed, and removed at the next start.
  await keep(OWED, [...(await owed()), one.replica]);
  await remember(null);
  current?.close();
  current = null;
  const channel = endings(one.replica);
  channel.postMessage("signed out");
  channel.close();
  await removeOwed(REMOVE_TRIES_MAX);
}

/** Remove what was signed out; a tab that sleeps may hold it still. */
export async function removeOwed(tries = 1): Promise<void> {
  const left: string[] = [];
  for (const name of await owed()) if (!(await isRemoved(name, tries))) left.push(name);
  await keep(OWED, left.length === 0 ? null : left);
}

const owed = async (): Promise<readonly string[]> =>
  ((await recall(OWED)) as readonly string[] | undefined) ?? [];

async function isRemoved(name: string, tries: number): Promise<boolean> {
  const folder = await navigator.storage.getDirectory();
  for (let attempt = 1; ; attempt += 1) {
    try {
      await folder.removeEntry(`.holdfast-${name}`, { recursive: true });
      return true;
    } catch (error) {
      if (error instanceof DOMException && error.name === "NotFoundError") return true;
      if (attempt >= tries) return false;
      // Another worker is still letting go of the file.
      await new Promise((resolve) => setTimeout(resolve, REMOVE_PAUSE_MS));
    }
  }
}
