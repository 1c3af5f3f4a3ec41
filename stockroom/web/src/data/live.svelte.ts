/**
 * A query whose answer is always the present one, for components.
 *
 * Knows: subscriptions and their lifetime. Must not know: any table. The last answer stays until the
 * next one is there, so that nothing flickers.
 */

import type { AppRow } from "@holdfast/browser";

import { replica } from "./replica.js";
import type { Question } from "./rows.js";

export class Live<T, Asked = unknown> {
  /** Undefined until the first answer. */
  value = $state.raw<T | undefined>(undefined);
  #hold: (() => boolean) | null;
  #waiting: T | undefined;

  /** Made while a component is set up. `hold`: while true, an answer waits for `release`. */
  constructor(
    question: () => Question<Asked> | null,
    made: (rows: readonly Asked[]) => T,
    hold: (() => boolean) | null = null,
  ) {
    this.#hold = hold;
    $effect(() => {
      const asked = question();
      if (asked === null) {
        this.value = made([]);
        return undefined;
      }
      let ended = false;
      let first = true;
      let stop: (() => void) | null = null;
      const told = (rows: readonly AppRow[]): void => {
        if (ended) return;
        const value = made(rows.map(asked.read));
        if (!first && this.#hold?.()) this.#waiting = value;
        else {
          this.#waiting = undefined;
          this.value = value;
        }
        first = false;
      };
      replica()
        .subscribe(asked.sql, asked.params, (result) => told(result.rows))
        .then((end) => {
          if (ended) end();
          else stop = end;
        })
        .catch((error: unknown) => {
          if (!ended) console.error(error);
        });
      return () => {
        ended = true;
        this.#waiting = undefined;
        stop?.();
      };
    });
  }

  release(): void {
    if (this.#waiting === undefined) return;
    this.value = this.#waiting;
    this.#waiting = undefined;
  }
}
