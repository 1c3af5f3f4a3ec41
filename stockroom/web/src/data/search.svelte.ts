/**
 * A search that is always the present one; where nothing is found, what may have been meant.
 *
 * Knows: when a search is over. Must not know: how results are shown. The last answer stays until the
 * next is whole, so that nothing flickers.
 */

import { Live } from "./live.svelte.js";
import * as products from "./products.js";
import { meant } from "./words.js";

export interface Results {
  /** What was searched for; "" while nothing is. */
  readonly typed: string;
  readonly lines: readonly products.ProductLine[];
  /** Nothing is called what was typed; these come near. */
  readonly isSimilar: boolean;
}

interface Guess {
  readonly typed: string;
  readonly words: string;
  readonly digits: string;
}

/** Matches nothing: a phrase that no name has. */
const NOTHING = '""';

export class Search {
  /** Undefined until the first answer. */
  value = $state.raw<Results | undefined>(undefined);
  readonly #exact: Live<Results>;
  readonly #similar: Live<Results>;
  #guess = $state.raw<Guess | null>(null);

  /** Made while a component is set up. `typed`: without spaces at its ends. `hold`: as of `Live`. */
  constructor(store: () => string, typed: () => string, hold: (() => boolean) | null = null) {
    this.#exact = new Live(
      () => products.search(store(), typed()),
      (rows) => ({ typed: typed(), lines: rows, isSimilar: false }),
      hold,
    );
    this.#similar = new Live(
      () => {
        const guess = this.#guess;
        if (guess?.typed !== typed()) return null;
        return products.similar(store(), guess.words, guess.digits);
      },
      (rows) => ({
        typed: this.#guess?.typed ?? "",
        lines: rows,
        isSimilar: true,
      }),
      hold,
    );
    $effect(() => {
      const exact = this.#exact.value;
      if (exact === undefined || exact.typed !== typed()) return;
      if (exact.typed === "" || exact.lines.length > 0) this.value = exact;
      else if (this.#guess?.typed !== exact.typed) void this.#think(exact.typed);
      else if (this.#similar.value?.typed === exact.typed) this.value = this.#similar.value;
    });
  }

  release(): void {
    this.#exact.release();
    this.#similar.release();
  }

  async #think(typed: string): Promise<void> {
    let words: string | null = null;
    try {
      words = meant(typed, await products.wordsOfNames());
    } catch {
      // A device made before there were such words searches without them.
    }
    this.#guess = { typed, words: words ?? NOTHING, digits: /^\d+$/.test(typed) ? typed : "" };
  }
}
