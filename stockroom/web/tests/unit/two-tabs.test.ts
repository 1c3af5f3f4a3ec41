/** What two tabs have typed into one form in the same moment. */

import { expect, test, vi } from "vitest";

import { BLANK, met, type Typed } from "../../src/screens/productDraft.js";

// The reader's language is the browser's, which Node does not have.
vi.hoisted(() => vi.stubGlobal("navigator", { language: "en" }));

const START: Typed = { ...BLANK, name: "Bag", codes: ["1", "2"], packs: { "1": "1", "2": "1" } };
const typed = (more: Partial<Typed>): Typed => ({ ...START, ...more });

test("what the other tab has changed is taken, and nothing else", () => {
  const mine = typed({ unit: "box", price: "4.00" });
  const theirs = typed({ price: "4.60", shelf: "B2" });
  expect(met(mine, typed({ shelf: "B1" }), theirs)).toEqual(
    typed({ unit: "box", price: "4.60", shelf: "B2" }),
  );
});

test("what the other tab has taken back is taken back", () => {
  const mine = typed({ unit: "box", price: "4.60" });
  expect(met(mine, typed({ price: "4.60" }), START)).toEqual(typed({ unit: "box" }));
});

test("codes and their packs come from both", () => {
  const mine = typed({ codes: ["1", "2", "3"], packs: { "1": "6", "2": "1", "3": "12" } });
  const theirs = typed({ codes: ["2", "4"], packs: { "1": "1", "2": "24", "4": "10" } });
  const { codes, packs } = met(mine, START, theirs);
  expect(codes).toEqual(["2", "3", "4"]);
  expect(packs).toMatchObject({ "2": "24", "3": "12", "4": "10" });
});

test("both tabs come to the same, whoever is told first", () => {
  const mine = typed({ unit: "box", codes: ["1", "2", "3"] });
  const theirs = typed({ price: "4.60", codes: ["2"] });
  const there = met(theirs, START, mine);
  const here = met(mine, START, theirs);
  expect({ ...here, codes: new Set(here.codes) }).toEqual({
    ...there,
    codes: new Set(there.codes),
  });
});
