/**
 * Goods that leave the shelf: each scan is booked as sold at once, and can be taken back at once.
 *
 * Knows: what was booked on this screen since it was opened. Must not know: how it is laid out. Stock may
 * fall below zero: what left the shelf has left it; it is said, and stops nobody.
 */

import type { Goods } from "../data/products.js";
import { ask } from "../data/replica.js";
import * as stock from "../data/stock.js";
import { place } from "../data/stores.svelte.js";
import { whyNot } from "../i18n/trouble.js";
import { sayBad } from "../shell/toast.svelte.js";

interface Booked {
  readonly movement: string;
  readonly count: number;
}

/** One product of this sale: what is booked of it, and what that leaves on the shelf. */
export interface Sold extends Goods {
  readonly booked: readonly Booked[];
  readonly count: number;
  readonly left: number;
  readonly price: number;
  readonly currency: string;
  readonly unpriced: boolean;
}

export class Selling {
  lines = $state.raw<readonly Sold[]>([]);
  /** The product that was sold last. */
  last = $state("");
  #store = "";
  #turn: Promise<unknown> = Promise.resolve();

  get units(): number {
    return this.lines.reduce((sum, { count }) => sum + count, 0);
  }

  /** Amounts at the shop's prices, one for each currency. */
  get values(): readonly (readonly [currency: string, minor: number])[] {
    const sums = new Map<string, number>();
    for (const { currency, price, count } of this.lines)
      sums.set(currency, (sums.get(currency) ?? 0) + price * count);
    return [...sums];
  }

  /** Book so many of it; what is on hand afterwards, or null where it could not be saved. */
  sell(goods: Goods, count = 1): Promise<number | null> {
    return this.#inTurn(async () => {
      const about = { reason: "sale", note: "" } as const;
      const movement = await stock.adjust(place.store, goods.id, -count, about);
      this.last = goods.id;
      return await this.#show(goods, [...this.#bookedOf(goods.id), { movement, count }]);
    });
  }

  /** Take back what was booked of it last. */
  takeBack(goods: Goods): Promise<number | null> {
    return this.#inTurn(async () => {
      const booked = this.#bookedOf(goods.id);
      const last = booked.at(-1);
      if (last === undefined) return null;
      await stock.undo([last.movement]);
      return await this.#show(goods, booked.slice(0, -1));
    });
  }

  /** What is shown was sold, and is done with. */
  finish(): void {
    this.lines = [];
    this.last = "";
  }

  /** Undo all that is shown, as one. */
  undoAll(): Promise<number | null> {
    return this.#inTurn(async () => {
      await stock.undo(this.lines.flatMap(({ booked }) => booked.map(({ movement }) => movement)));
      this.finish();
      return 0;
    });
  }

  #bookedOf(product: string): readonly Booked[] {
    return this.lines.find(({ id }) => id === product)?.booked ?? [];
  }

  async #show({ id, name, sku }: Goods, booked: readonly Booked[]): Promise<number> {
    const [found] = await ask(stock.onHandOf([id], place.store));
    const { quantity: left = 0, price = 0, currency = "EUR", unpriced = true } = found ?? {};
    const count = booked.reduce((sum, one) => sum + one.count, 0);
    const line: Sold = { id, name, sku, booked, count, left, price, currency, unpriced };
    const at = this.lines.findIndex((one) => one.id === id);
    const others = this.lines.filter((one) => one.id !== id);
    // What is scanned comes to the top; what is taken back stays where the finger is.
    const isNew = at < 0 || count > (this.lines[at]?.count ?? 0);
    if (count === 0) this.lines = others;
    else this.lines = isNew ? [line, ...others] : this.lines.with(at, line);
    return left;
  }

  /** One after the other: two quick scans of one thing are two. */
  #inTurn(work: () => Promise<number | null>): Promise<number | null> {
    const done = this.#turn
      .then(() => {
        if (this.#store !== place.store) this.finish();
        this.#store = place.store;
        return work();
      })
      .catch((error: unknown) => {
        sayBad(whyNot(error));
        return null;
      });
    this.#turn = done;
    return done;
  }
}

/** Of this page: other screens come and go meanwhile. */
export const selling = new Selling();
