/**
 * A copy of the drafts on the disk: a browser that is killed loses what local storage was told last.
 *
 * Knows: where drafts are, and the memory whose commits are on the disk. Must not know: what a draft is about.
 * Upholds: what was typed is back after a kill, and what was dropped is not; local storage that knows more
 * than the copy, or that another tab works in, is left alone.
 */

import { ownName } from "../data/base.js";
import { recall, replaceKept } from "../data/memory.js";

export const DRAFTS = `${ownName("stockroom")}.draft.`;
/** How many changes there were: whichever of the two has more of them is the newer one. */
const CHANGES = `${ownName("stockroom")}.typed`;
const NAME = "drafts";
const LOCK = ownName("stockroom.drafts");

interface Copy {
  readonly changes: number;
  readonly drafts: Readonly<Record<string, string>>;
}

const changesHere = (): number => Number(localStorage.getItem(CHANGES) ?? 0);
const namesHere = (): string[] =>
  Object.keys(localStorage).filter((name) => name.startsWith(DRAFTS));

let isStale = false;
let writing: Promise<void> | null = null;

/** Copy what changed; many changes at once are one. A `brief` draft has no copy. */
export async function draftsChanged({ brief = false } = {}): Promise<void> {
  if (brief) return;
  try {
    localStorage.setItem(CHANGES, String(changesHere() + 1));
  } catch {
    return; // a full device keeps no draft at all
  }
  isStale = true;
  await (writing ??= copy());
}

async function copy(): Promise<void> {
  try {
    while (isStale) {
      isStale = false;
      const drafts = Object.fromEntries(
        namesHere().map((name) => [name, localStorage.getItem(name) ?? ""]),
      );
      const now: Copy = { changes: changesHere(), drafts };
      // Another tab may have written a newer one meanwhile.
      await replaceKept(
        NAME,
        (kept) => ((kept as Copy | undefined)?.changes ?? 0) <= now.changes,
        now,
      );
    }
  } catch (error) {
    console.warn(error);
  } finally {
    writing = null;
  }
}

/** Take over what local storage has lost, unless another tab is at work. Before any draft is read. */
export async function recallDrafts(): Promise<void> {
  try {
    const { locks } = navigator;
    await locks.request(LOCK, { ifAvailable: true }, async (alone) => {
      const kept = alone === null ? undefined : ((await recall(NAME)) as Copy | undefined);
      if (kept === undefined || kept.changes <= changesHere()) return;
      for (const name of namesHere()) localStorage.removeItem(name);
      for (const [name, draft] of Object.entries(kept.drafts)) localStorage.setItem(name, draft);
      localStorage.setItem(CHANGES, String(kept.changes));
    });
    await new Promise<void>((isHeld) => {
      void locks.request(LOCK, { mode: "shared" }, () => {
        isHeld();
        return new Promise(() => undefined); // as long as this tab lives
      });
    });
  } catch (error) {
    console.warn(error);
  }
}
