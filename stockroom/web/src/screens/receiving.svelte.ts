/**
 * The draft of a delivery that somebody works on: its rows, what is wrong with each line, and what may be said
 * of them.
 *
 * Knows: drafts as rows, and what was typed that is no quantity. Must not know: how it is laid out. Upholds:
 * what is counted is written before anything else is done; nothing is booked that was not shown.
 */

import * as deliveries from "../data/deliveries.js";
import { Live } from "../data/live.svelte.js";
import { type Implausible, implausible, type NotWhole, parseWhole } from "../data/quantity.js";
import { enrolled } from "../data/replica.js";
import { onHandOf } from "../data/stock.js";
import { place } from "../data/stores.svelte.js";
import { groupMark } from "../i18n/index.js";

/** Reason that a line cannot be received as it is. */
export type Wrong = NotWhole | Implausible | "zero" | "damaged" | "before";

/** So long after it was written, what the database says is shown again. */
const SETTLED_MS = 400;

const without = <T>(all: Readonly<Record<string, T>>, name: string): Record<string, T> =>
  Object.fromEntries(Object.entries(all).filter(([one]) => one !== name));

export class Receiving {
  readonly #wanted: () => string;
  readonly #drafts: Live<readonly deliveries.Delivery[], deliveries.Delivery>;
  readonly #one: Live<deliveries.Delivery | null, deliveries.Delivery>;
  readonly #lines: Live<readonly deliveries.Line[], deliveries.Line>;
  readonly #lately: Live<readonly deliveries.Before[], deliveries.Before>;
  readonly #onHand: Live<ReadonlyMap<string, number>, { id: string; quantity: number }>;
  /** What is in the field of a line, while it is no quantity or nobody may have meant it. */
  typed = $state<Readonly<Record<string, string>>>({});
  #sure = $state<Readonly<Record<string, string>>>({});
  /** What was said of lines and is being written; only to count on from. */
  #meant: Readonly<Record<string, number>> = {};
  /** What was written of lines a moment ago, until the database's own answer comes. */
  #said = $state<Readonly<Record<string, number>>>({});
  #work: Promise<unknown> = Promise.resolve();

  /** Made while a component is set up. `wanted`: the id of a delivery; "" for one's own draft. */
  constructor(wanted: () => string) {
    this.#wanted = wanted;
    this.#drafts = new Live(
      () => (wanted() === "" && place.store !== "" ? deliveries.drafts(place.store) : null),
      (rows) => rows,
    );
    this.#one = new Live(
      () => (this.id === "" ? null : deliveries.one(this.id)),
      ([found]) => found ?? null,
    );
    this.#lines = new Live(
      () => (this.id === "" ? null : deliveries.lines(this.id)),
      (rows) => rows,
    );
    this.#lately = new Live(
      () => (this.id === "" ? null : deliveries.lately(this.id)),
      (rows) => rows,
    );
    this.#onHand = new Live(
      () => onHandOf([...new Set(this.lines.map(({ product }) => product))], place.store),
      (rows) => new Map(rows.map(({ id, quantity }) => [id, quantity])),
    );
  }

  /** The id of what is shown; "" while there is nothing. */
  get id(): string {
    if (this.#wanted() !== "") return this.#wanted();
    const user = enrolled()?.user ?? "";
    return this.#drafts.value?.find(({ startedBy }) => startedBy === user)?.id ?? "";
  }

  /** Whether it is known what there is. */
  get isKnown(): boolean {
    const isListed = this.#wanted() !== "" || this.#drafts.value !== undefined;
    return isListed && this.#one.value !== undefined && this.#lines.value !== undefined;
  }

  get document(): deliveries.Delivery | null {
    const found = this.#one.value ?? null;
    return found?.id === this.id ? found : null;
  }

  get lines(): readonly deliveries.Line[] {
    return this.id === "" ? [] : (this.#lines.value ?? []);
  }

  /** How many of a line are here: never a number that is not written yet, as whoever sees it relies on it. */
  here(line: deliveries.Line): number {
    return this.#said[line.id] ?? line.here;
  }

  /** How many will be, once all that was tapped is written. */
  meant(line: deliveries.Line): number {
    return this.#meant[line.id] ?? this.here(line);
  }

  get units(): number {
    return this.lines.reduce((sum, line) => sum + Math.max(0, this.here(line)), 0);
  }

  /** How many are to come in all; 0 where that is not known of each line. */
  get expected(): number {
    const said = this.lines.map(({ expected }) => expected ?? NaN);
    return said.reduce((sum, one) => sum + one, 0) || 0;
  }

  /** What came in with the same note before. */
  before(product: string): deliveries.Before | null {
    const note = deliveries.sameNote(this.document?.document ?? "");
    if (note === "") return null;
    const found = this.#lately.value?.filter((one) => one.product === product) ?? [];
    return found.find(({ document }) => deliveries.sameNote(document) === note) ?? null;
  }

  wrong(line: deliveries.Line): Wrong | null {
    const typed = this.typed[line.id];
    if (typed !== undefined) {
      const parsed = parseWhole(typed, groupMark);
      if (typeof parsed !== "number") return parsed;
      if (this.#doubt(line, typed, parsed) !== null) return this.#doubt(line, typed, parsed);
    }
    const here = this.here(line);
    if (here < 0 || (here === 0 && line.expected === null)) return "zero";
    if (line.damaged > here) return "damaged";
    return !line.more && this.before(line.product) !== null ? "before" : null;
  }

  #doubt(line: deliveries.Line, typed: string, number: number): Implausible | null {
    if (this.#sure[line.id] === typed) return null;
    return implausible(typed, number, this.#onHand.value?.get(line.product) ?? 0, false);
  }

  get wrongLines(): readonly deliveries.Line[] {
    return this.lines.filter((line) => this.wrong(line) !== null);
  }

  /** One after another, so that what was tapped last is what stands. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work, work);
    this.#work = done.catch(() => undefined);
    return await done;
  }

  /** Count goods, on the draft there is or on a new one. */
  async add(product: string, by = 1): Promise<void> {
    await this.#inTurn(() => deliveries.add(place.store, this.id, product, by));
  }

  async count(line: deliveries.Line, said: deliveries.Counted): Promise<void> {
    const { by, to } = said;
    if (by === undefined && to === undefined) {
      await this.#inTurn(() => deliveries.count(this.id, line.product, said));
      return;
    }
    this.#forget(line.id);
    const here = to ?? this.meant(line) + (by ?? 0);
    this.#meant = { ...this.#meant, [line.id]: here };
    try {
      await this.#inTurn(() => deliveries.count(this.id, line.product, said));
      this.#said = { ...this.#said, [line.id]: here };
    } finally {
      if (this.#meant[line.id] === here) this.#meant = without(this.#meant, line.id);
      setTimeout(() => {
        if (this.#said[line.id] === here) this.#said = without(this.#said, line.id);
      }, SETTLED_MS);
    }
  }

  /** What is in the field of a line; a quantity is written at once. */
  async type(line: deliveries.Line, typed: string): Promise<void> {
    const parsed = parseWhole(typed, groupMark);
    const isMeant = typeof parsed === "number" && this.#doubt(line, typed, parsed) === null;
    if (isMeant) await this.count(line, { to: parsed });
    else this.typed = { ...this.typed, [line.id]: typed };
  }

  /** Somebody says that what was typed is meant. */
  async confirm(line: deliveries.Line): Promise<void> {
    const typed = this.typed[line.id] ?? "";
    this.#sure = { ...this.#sure, [line.id]: typed };
    await this.type(line, typed);
  }

  /** What was typed is not meant: what was counted before stands. */
  clear(line: deliveries.Line): void {
    this.#forget(line.id);
  }

  #forget(line: string): void {
    this.typed = without(this.typed, line);
  }

  async remove(line: deliveries.Line): Promise<void> {
    this.#forget(line.id);
    await this.#inTurn(() => deliveries.remove(line.id));
  }

  async describe(about: Parameters<typeof deliveries.describe>[1]): Promise<void> {
    await this.#inTurn(() =>
      this.#wanted() === ""
        ? deliveries.say(place.store, this.id, about)
        : deliveries.describe(this.id, about),
    );
  }

  async drop(): Promise<void> {
    this.typed = {};
    await this.#inTurn(() => deliveries.drop(this.id));
  }

  /** Receive what is shown, and what was tapped a moment ago; the id of the document, and how many came in. */
  async book(): Promise<{ readonly id: string; readonly units: number }> {
    const { id } = this;
    const units = this.lines.reduce((sum, line) => sum + Math.max(0, this.meant(line)), 0);
    await this.#work;
    return { id, units: await deliveries.book(id, units) };
  }
}
