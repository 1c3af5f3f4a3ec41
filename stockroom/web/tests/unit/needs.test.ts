/** What waits for a person, as they count it: a refused change and all behind it is one question. */

import { expect, test } from "vitest";

import { decisions } from "../../src/data/needs.js";
import { byThing } from "../../src/data/waiting.js";

const of = (...waits: readonly (readonly [number, number])[]) =>
  decisions(waits.map(([number, heldBy]) => ({ number, heldBy }))).map(({ item, behind }) => [
    item.number,
    ...behind.map(({ number }) => number),
  ]);

test("what waits behind a refused change is one question with it, however long the line is", () => {
  expect(of([4, 0], [5, 4], [6, 5], [7, 4], [9, 0])).toEqual([[4, 5, 6, 7], [9]]);
  // Whatever came in first, and whatever is not here any more.
  expect(of([5, 4], [4, 0], [8, 2])).toEqual([[4, 5], [8]]);
});

test("changes that wait for each other are still asked about", () => {
  expect(of([4, 5], [5, 4])).toEqual([[4], [5]]);
});

const row = (tx: number, table: string, key: string, delivery = "") => ({
  tx,
  table,
  key,
  delivery,
});

test("a delivery is one thing, however many taps it took; all else is counted by what was done", () => {
  const things = byThing([
    row(5, "movement", "m", "D"),
    row(5, "delivery", "D", "D"),
    row(4, "product", "p"),
    row(4, "barcode", "c"),
    row(3, "delivery_line", "l", "D"),
    row(2, "delivery_line", "l", "D"),
    row(1, "delivery", "D", "D"),
  ]);
  expect(things.map((parts) => parts.map(({ table }) => table))).toEqual([
    ["movement", "delivery", "delivery_line"],
    ["product", "barcode"],
  ]);
});
