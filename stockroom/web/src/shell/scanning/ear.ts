/**
 * The keys of a page as they are heard, one by one, and the codes that are found among them.
 *
 * Knows: keys and their times. Must not know: the page; `Mark` is what it wants to have back with each key.
 * All of it is pure. Upholds: what follows a beginning that was lost elsewhere is a part, never a code.
 */

import {
  type Burst,
  burstIn,
  FAST_MS,
  gapsOf,
  type Key,
  type Known,
  median,
  rhythmOf,
  runBefore,
  SLOW_MS,
  textOf,
} from "./burst.js";
import { isWhole, type Reading, readingOf } from "./reading.js";

export interface Heard<Mark> {
  readonly kind: "code" | "unsure" | "part";
  readonly code: string;
  readonly gapMs: number;
  /** Marks of the keys that were the scanner's. */
  readonly marks: readonly Mark[];
}

/** Keys that were typed without a pause, by whatever: for the scanner test page. */
export interface Run {
  readonly text: string;
  readonly gapMs: number;
  /** The whole code, where the keys' places say more than their signs. */
  readonly byPlace: boolean;
  readonly ending: "key" | "none";
  /** Of its last key. */
  readonly ms: number;
}

/** Longer than any code: what came before is forgotten. */
const KEYS_MAX = 200;
/** A beginning that was lost elsewhere is remembered for so long. */
const LOST_MS = 4000;
const LOST_KEYS_MIN = 3;
/** So soon after a code, a key that ends codes is the scanner's as well. */
const TAIL_MS = 250;

export class Ear<Mark> {
  readonly #known: () => Known;
  #keys: (Key & { readonly mark: Mark })[] = [];
  #takenMs = -Infinity;

  constructor(known: () => Known) {
    this.#known = known;
  }

  /** Something else has happened: what was typed before it is no part of a code any more. */
  forget(): void {
    this.#keys = [];
  }

  /** True in the middle of what only a scanner does. */
  get isRunning(): boolean {
    const last = this.#keys.slice(-3);
    const gaps = gapsOf(last).slice(1);
    return gaps.length === 2 && gaps.every((gap) => gap <= FAST_MS);
  }

  /** A key that types; a code where it ends a set suffix. */
  press(key: Key, mark: Mark): Heard<Mark> | null {
    this.#keys.push({ ...key, mark });
    if (this.#keys.length > KEYS_MAX) this.#keys.shift();
    const { suffix, prefix } = this.#known();
    if (suffix === "") return null;
    const typed = this.#keys.map(({ sign }) => sign).join("");
    // A suffix ends a code only where a machine has typed it.
    if (!typed.endsWith(suffix) || typed.length <= suffix.length + prefix.length) return null;
    return this.end(key.ms);
  }

  /** A key that ends codes; null when it is a person's. */
  end(ms: number): Heard<Mark> | null {
    const burst = burstIn(this.#keys, ms, this.#known(), isWhole);
    const heard = burst === null ? null : this.#heard(burst);
    this.#keys = [];
    if (heard !== null) this.#takenMs = ms;
    return heard;
  }

  /** Nothing came for a while: the end of a code only for a scanner that ends with nothing. */
  idle(ms: number): Heard<Mark> | null {
    const known = this.#known();
    if (known.ending !== "none") return null;
    const lastMs = this.#keys.at(-1)?.ms ?? ms;
    const burst = burstIn(this.#keys, lastMs, known, isWhole);
    if (burst === null || !burst.isWhole) return null;
    return this.end(lastMs);
  }

  /** True for a second key that ends codes, right behind a code. */
  isTail(ms: number): boolean {
    return this.#keys.length === 0 && ms - this.#takenMs <= TAIL_MS;
  }

  /** The last unbroken run of keys. */
  run(ending: Run["ending"]): Run | null {
    const gaps = gapsOf(this.#keys);
    const from = runBefore(gaps, this.#keys.length);
    const keys = this.#keys.slice(from);
    const gapMs = median(gaps.slice(from + 1));
    if (keys.length < 4 || gapMs > SLOW_MS) return null;
    const known = { ...this.#known(), byPlace: false };
    const signs = keys.map(({ sign }) => sign).join("");
    const text = textOf(keys, known, isWhole) ?? signs;
    return {
      text,
      gapMs,
      byPlace: text !== signs && isWhole(text),
      ending,
      ms: keys.at(-1)?.ms ?? 0,
    };
  }

  #heard(burst: Burst): Heard<Mark> {
    const reading: Reading = readingOf(burst.text);
    const lost = this.#lostBefore(burst);
    const marks = this.#keys.slice(lost ?? burst.from).map(({ mark }) => mark);
    const kind = lost === null ? reading.kind : "part";
    return { kind, code: reading.code, gapMs: burst.gapMs, marks };
  }

  /** Where a beginning of this code was typed that the pause behind it has cut off; null: nowhere. */
  #lostBefore({ from }: Burst): number | null {
    const gaps = gapsOf(this.#keys);
    if (from < LOST_KEYS_MIN || (gaps[from] ?? Infinity) > LOST_MS) return null;
    const before = runBefore(gaps, from);
    const isMachine = from - before >= LOST_KEYS_MIN && rhythmOf(gaps, before, from) <= FAST_MS;
    return isMachine ? before : null;
  }
}
