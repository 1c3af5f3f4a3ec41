/**
 * An adjustment as it is typed: the number, which way, why; and what is missing before it can be recorded.
 *
 * Knows: drafts, and what a number means beside what is on hand. Must not know: how it is laid out or
 * written. Upholds: no reason and no direction is chosen before a person has chosen it; a number that is
 * doubted is recorded only after it was said again.
 */

import {
  type Implausible,
  implausible,
  mayBeCode,
  type NotWhole,
  parseWhole,
  plainDigits,
} from "../data/quantity.js";
import { byCode } from "../data/products.js";
import { REASONS, type Reason } from "../data/stock.js";
import { groupMark } from "../i18n/index.js";
import "../i18n/later.js";
import { dropDraft, keepDraft, readDraft } from "../shell/draft.js";

export type Way = "see" | "by";
/** Thing that is missing, in the order in which it is asked for. */
export type Missing = "number" | "way" | "sure" | "reason";

interface Draft {
  readonly way: Way;
  readonly sign: number;
  readonly typed: string;
  readonly reason: Reason | "";
  readonly note: string;
}
const BRIEF = { brief: true };

export class Adjusting {
  way = $state<Way>("see");
  /** Of a difference: 1, -1, or 0 until it is chosen. */
  sign = $state(0);
  typed = $state("");
  reason = $state<Reason | "">("");
  note = $state("");
  /** The number that was said again. */
  #sure = $state("");
  #isCode = $state(false);
  readonly #name: string;
  readonly #here: () => number | null;

  /** Made while a component is set up. `here`: what is on hand; null until it is known. */
  constructor(product: string, here: () => number | null) {
    this.#name = `adjust.${product}`;
    this.#here = here;
    const draft = readDraft<Partial<Draft>>(this.#name, BRIEF);
    if (draft !== null) {
      this.way = draft.way ?? "see";
      this.sign = draft.sign ?? 0;
      this.typed = draft.typed ?? "";
      this.reason = draft.reason ?? "";
      this.note = draft.note ?? "";
    }
    $effect(() => {
      const { way, sign, typed, reason, note } = this;
      if (typed === "" && note === "") dropDraft(this.#name, BRIEF);
      else keepDraft(this.#name, { way, sign, typed, reason, note } satisfies Draft, BRIEF);
    });
    // A reason that does not fit the other sign is not meant any more.
    $effect(() => {
      if (this.by !== 0 && this.reason !== "" && !this.reasons.includes(this.reason))
        this.reason = "";
    });
    $effect(() => {
      void this.typed;
      void this.look();
    });
  }

  /** Whether a product has what is typed as its code; known before anything is recorded. */
  async look(): Promise<void> {
    const { typed } = this;
    const found = mayBeCode(typed) ? await byCode(plainDigits(typed).trim()) : null;
    if (this.typed === typed) this.#isCode = found !== null;
  }

  readonly #parsed = $derived.by(() => parseWhole(this.#unsigned, groupMark));

  /** A difference may be typed with its sign. */
  get #unsigned(): string {
    return this.way === "by" ? this.typed.trim().replace(/^[+\-−–]/, "") : this.typed;
  }

  get #direction(): number {
    const typed = /^([+\-−–])/.exec(this.typed.trim())?.[1];
    if (typed !== undefined) return typed === "+" ? 1 : -1;
    return this.sign;
  }

  get number(): number | null {
    return typeof this.#parsed === "number" ? this.#parsed : null;
  }

  /** Why the number is none; "" while nothing is typed. */
  get wrong(): NotWhole | null {
    return typeof this.#parsed === "number" || this.typed.trim() === "" ? null : this.#parsed;
  }

  /** The difference; 0 until there is one. */
  get by(): number {
    const here = this.#here();
    if (this.number === null || here === null) return 0;
    return this.way === "see" ? this.number - here : this.#direction * this.number;
  }

  get after(): number {
    return (this.#here() ?? 0) + this.by;
  }

  /** Those that fit the sign. */
  get reasons(): readonly Reason[] {
    if (this.by === 0) return [];
    return REASONS[this.by < 0 ? "fewer" : "more"];
  }

  get doubt(): Implausible | null {
    if (this.number === null || this.#sure === this.typed) return null;
    return implausible(this.typed, this.number, this.#here() ?? 0, this.#isCode);
  }

  get missing(): Missing | null {
    if (this.number === null) return "number";
    if (this.way === "by" && this.#direction === 0) return "way";
    if (this.by === 0) return "number";
    if (this.doubt !== null) return "sure";
    return this.reason === "" ? "reason" : null;
  }

  choose(way: Way): void {
    if (way === this.way) return;
    this.way = way;
    this.typed = "";
    this.sign = 0;
  }

  /** One more or one less than what is typed, or than what is on hand. */
  step(more: number): void {
    const here = this.#here();
    if (here === null) return;
    if (this.way === "see") this.typed = String(Math.max(0, (this.number ?? here) + more));
    else {
      const next = (this.number ?? 0) * (this.#direction || 1) + more;
      this.sign = Math.sign(next);
      this.typed = String(Math.abs(next));
    }
  }

  /** A scan of these goods: so many more were seen, or are taken away or added. */
  count(pieces: number): void {
    const counted = this.number ?? 0;
    if (this.typed.trim() !== "" && this.number === null) return;
    this.typed = String(Math.max(0, counted + pieces));
    if (this.typed === "0") this.typed = "";
  }

  confirm(): void {
    this.#sure = this.typed;
  }

  clear(): void {
    this.typed = "";
    this.#sure = "";
  }

  /** Recorded: nothing of it is kept. */
  done(): void {
    this.typed = this.note = this.reason = "";
    this.sign = 0;
    dropDraft(this.#name, BRIEF);
  }
}
