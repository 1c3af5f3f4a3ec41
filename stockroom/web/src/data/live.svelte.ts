/**
 * A query whose answer is always the present one, for components.
 *
 * Knows: subscriptions and their lifetime. Must not know: any table. The last answer stays until the
 * next one is there, so that nothing flickers.
 */

import type { AppRow } from "@holdfast/browser";

import { replica } from "./replica.js";

export interface Question {
  readonly sql: string;
  readonly params?: AppRow;
}

export class Live<T> {
  /** Undefined until the first answer. */
  value = $state.raw<T | undefined>(undefined);
  #hold: (() => boolean) | null;
  #waiting: T | undefined;

  /** Made while a component is set up. `hold`: while true, an answer waits for `release`. */
  constructor(
    question: () => Question | null,
    read: (rows: readonly AppRow[]) => T,
    hold: (() => boolean) | null = null,
  ) {
    this.#hold = hold;
    $effect(() => {
      const asked = question();
      if (asked === null) {
        this.value = read([]);
        return undefined;
      }
      let ended = false;
      let first = true;
      let stop: (() => void) | null = null;
      const told = (rows: readonly AppRow[]): void => {
        if (ended) return;
        if (!first && this.#hold?.()) this.#waiting = read(rows);
        else {
          this.#waiting = undefined;
          this.value = read(rows);
        }
        first = false;
      };
      replica()
        .subscribe(asked.sql, asked.params ?? [], (result) => told(result.rows))
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

export const text = (value: unknown): string =>
  value === null || value === undefined ? "" : String(value);
export const whole = (value: unknown): number => Number(value ?? 0);
