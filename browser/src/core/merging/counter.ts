/**
 * Counters: integers whose differences add up.
 *
 * Knows: two values and a difference of them. Must not know: SQL or messages.
 * A change says by how much, so that changes of several devices add up in any order (I21).
 */

import { INTEGER_MAX, INTEGER_MIN } from "../limits.js";
import type { Value } from "../values.js";

/** By how much `after` is more than `before`. */
export function difference(before: Value, after: Value): Value {
  return typeof before === "bigint" && typeof after === "bigint" ? after - before : after;
}

/** Two values that differ by so much. */
export function between(by: Value): readonly [Value, Value] {
  return [0n, by];
}

/** `current` after a change from `before` (null: an insert) to `after`, held within what an integer can
 * be: the server refuses what leaves it. */
export function replay(current: Value, before: Value, after: Value): Value {
  const start = before ?? 0n;
  if (typeof current !== "bigint" || typeof after !== "bigint" || typeof start !== "bigint")
    return after;
  const sum = current + after - start;
  return sum < INTEGER_MIN ? INTEGER_MIN : sum > INTEGER_MAX ? INTEGER_MAX : sum;
}
