/**
 * What the monkey was told is saved: its own ledger, kept beside the app's.
 *
 * Knows: tags and quantities. Must not know: pages, or how anything is stored. A tag stands in the
 * delivery note or the note of a movement, so that it is found again wherever the movement went.
 */

export type Certainty =
  /** The app has said that it is saved. */
  | "saved"
  /** The tab, or the browser, ended on the way: it is there once, or not at all. */
  | "maybe"
  /** The server refused it, and a person gave it up. */
  | "given up";

export interface Noted {
  readonly tag: string;
  readonly hand: string;
  certainty: Certainty;
  /** By SKU as it was then; null where only the app knows: then any one quantity is right. */
  readonly quantities: readonly number[] | null;
}

interface Edit {
  readonly hand: string;
  readonly value: string;
  readonly certainty: Certainty;
}

export class Book {
  readonly #noted = new Map<string, Noted>();
  /** Movements that were undone, by their ids, and whether that is certain. */
  readonly undone = new Map<string, Certainty>();
  /** Products that were added: by id. */
  readonly products = new Map<string, Certainty>();
  /** What was written into a column of a product, in order. */
  readonly #edits = new Map<string, Edit[]>();
  /** Columns of products that somebody was asked about: `key column`. */
  readonly disputed = new Set<string>();
  /** Products that everybody knew at the beginning. */
  readonly common = new Set<string>();
  #last = 0;

  tag(letter: string): string {
    this.#last += 1;
    return `${letter}-${this.#last}`;
  }

  note(one: Noted): void {
    this.#noted.set(one.tag, one);
  }

  get all(): readonly Noted[] {
    return [...this.#noted.values()];
  }

  giveUp(tag: string): void {
    const one = this.#noted.get(tag);
    if (one !== undefined) one.certainty = "given up";
  }

  edited(product: string, label: string, hand: string, value: string, certainty: Certainty): void {
    const key = `${product} ${label.toLowerCase()}`;
    const known = this.#edits.get(key) ?? [];
    this.#edits.set(key, [...known, { hand, value, certainty }]);
  }

  /** Columns that only one hand has written, whose last word is certain: `key column` and the value. */
  get lastWords(): readonly (readonly [string, string])[] {
    return [...this.#edits].flatMap(([key, edits]) => {
      const last = edits.at(-1);
      const alone = edits.every(({ hand }) => hand === last?.hand);
      const certain = last?.certainty === "saved" && !this.disputed.has(key);
      return alone && certain ? [[key, last.value] as const] : [];
    });
  }
}
