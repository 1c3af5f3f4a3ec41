/**
 * What the server did not take, as questions: what waits behind a refused change is no question of its own.
 *
 * Knows: which change waits for which. Must not know: how any of it is worded.
 */

import type { Refused } from "@holdfast/browser";

/** A change that somebody has to decide about, and those that go on, or end, with it. */
export interface Decision {
  readonly item: Refused;
  readonly behind: readonly Refused[];
}

type Waits = Pick<Refused, "number" | "heldBy">;

/** The changes to decide about, in the order in which they came in. */
export function decisions<T extends Waits>(
  refused: readonly T[],
): { readonly item: T; readonly behind: readonly T[] }[] {
  const byNumber = new Map(refused.map((one) => [one.number, one]));
  const found = new Map<T, T[]>();
  for (const one of refused) {
    let first = one;
    for (const seen = new Set([one]); ;) {
      const before = byNumber.get(first.heldBy);
      if (before === undefined) break;
      // What waits for each other in a circle, as damage might have it, is asked about one by one.
      first = seen.has(before) ? one : before;
      if (first === one) break;
      seen.add(first);
    }
    const behind = found.get(first) ?? [];
    found.set(first, behind);
    if (first !== one) behind.push(one);
  }
  return [...found].map(([item, behind]) => ({ item, behind }));
}
