/**
 * Which of the codes in a picture count: each once as long as it is in sight, and only what was surely read.
 *
 * Knows: pictures by their times. Must not know: cameras. Upholds: a code that lies before the camera counts
 * once, however long; one without a check digit is believed when two pictures say so.
 */

import { canonical, provesItself } from "../../data/codes.js";

/** The same code counts again when it was out of sight for so long. */
export const PAUSE_MS = 800;
/** A code that was seen once is forgotten, and no proof of a second sight. */
const DOUBT_MS = 1500;

export class Sight {
  readonly #counted = new Map<string, number>();
  readonly #once = new Map<string, number>();

  /** Return the codes that count now, of those read in one picture. */
  see(texts: readonly string[], nowMs: number): string[] {
    const fresh: string[] = [];
    for (const text of new Set(texts)) {
      const code = canonical(text);
      if (code === "") continue;
      const since = nowMs - (this.#counted.get(code) ?? -Infinity);
      if (since < PAUSE_MS) this.#counted.set(code, nowMs);
      else if (provesItself(text) || this.#isSeenBefore(code, nowMs)) {
        this.#counted.set(code, nowMs);
        if (!fresh.includes(code)) fresh.push(code);
      } else this.#once.set(code, nowMs);
    }
    return fresh;
  }

  #isSeenBefore(code: string, nowMs: number): boolean {
    const before = this.#once.get(code);
    this.#once.delete(code);
    return before !== undefined && nowMs - before < DOUBT_MS;
  }
}
