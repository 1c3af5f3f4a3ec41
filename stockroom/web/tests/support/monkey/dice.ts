/** Chance from a seed. Knows nothing of what is chosen: the same seed gives the same throws. */

export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, not including, 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, both ends included. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  one<T>(among: readonly T[]): T {
    const found = among[this.whole(0, among.length - 1)];
    if (found === undefined) throw new Error("there is nothing to choose from");
    return found;
  }

  weighted<T>(among: readonly (readonly [weight: number, what: T])[]): T {
    let left = this.next() * among.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, what] of among) {
      left -= weight;
      if (left < 0) return what;
    }
    return this.one(among)[1];
  }
}
