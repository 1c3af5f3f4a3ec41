/** What two tabs have typed into one form in the same moment. */

import { expect, test, vi } from "vitest";

import {
  BLANK,
  isLater,
  laterOf,
  met,
  stamped,
  type Stamps,
  type Typed,
} from "../../src/screens/productDraft.js";

// The reader's language is the browser's, which Node does not have.
vi.hoisted(() => vi.stubGlobal("navigator", { language: "en" }));

const START: Typed = { ...BLANK, name: "Bag", codes: ["1", "2"], packs: { "1": "1", "2": "1" } };

/** A form as one tab has it, and when each part was typed. */
interface Tab {
  readonly form: Typed;
  readonly stamps: Stamps;
  readonly id: number;
}
const tab = (id: number): Tab => ({ form: START, stamps: {}, id });
const types = (one: Tab, more: Partial<Typed>): Tab => {
  const form = { ...one.form, ...more };
  return { ...one, form, stamps: stamped(one.stamps, one.form, form, one.id) };
};
/** What a tab is after it was told what another one has kept. */
const told = (one: Tab, other: Tab): Tab => ({
  ...one,
  form: met(one.form, one.stamps, other.form, other.stamps),
  stamps: laterOf(one.stamps, other.stamps),
});
/** Codes have no order that anybody has chosen. */
const shown = ({ form }: Tab): unknown => ({
  ...form,
  codes: [...form.codes].sort(),
  packs: Object.fromEntries(form.codes.map((code) => [code, form.packs[code] ?? "1"])),
});

test("what the other tab has changed is taken, and nothing else", () => {
  const mine = types(tab(0.1), { unit: "box", price: "4.00" });
  const theirs = types(told(tab(0.2), mine), { price: "4.60", shelf: "B2" });
  expect(told(mine, theirs).form).toEqual({ ...START, unit: "box", price: "4.60", shelf: "B2" });
});

test("what the other tab has taken back is taken back", () => {
  const mine = types(tab(0.1), { unit: "box", price: "4.60" });
  const theirs = types(told(tab(0.2), mine), { price: "" });
  expect(told(mine, theirs).form).toEqual({ ...START, unit: "box" });
});

test("codes and their packs come from both", () => {
  const mine = types(tab(0.1), {
    codes: ["1", "2", "3"],
    packs: { "1": "6", "2": "1", "3": "12" },
  });
  const theirs = types(tab(0.2), { codes: ["2", "4"], packs: { "1": "1", "2": "24", "4": "10" } });
  const { codes, packs } = told(mine, theirs).form;
  // The later of two words on one code stands: the other tab has removed it.
  expect([...codes].sort()).toEqual(["2", "3", "4"]);
  expect(packs).toMatchObject({ "2": "24", "3": "12", "4": "10" });
});

test("what was typed here is not undone by a tab that had not heard of it", () => {
  const before = types(tab(0.1), { unit: "bag" });
  const other = types(told(tab(0.2), before), { price: "4.60" });
  const mine = types(before, { unit: "box" });
  // It was kept over the unit of this tab, and is told after it.
  const now = told(mine, other);
  expect(now.form).toMatchObject({ unit: "box", price: "4.60" });
  expect(isLater(now.stamps, other.stamps)).toBe(true);
  expect(isLater(told(other, now).stamps, now.stamps)).toBe(false);
});

test("whatever both type and whoever is told first, they come to the same", () => {
  let seed = 7;
  const next = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  const deeds: readonly ((of: Typed) => Partial<Typed>)[] = [
    () => ({ unit: `box ${next(3)}` }),
    () => ({ price: `4.0${next(3)}` }),
    () => ({ archived: next(2) === 1 }),
    ({ codes, packs }) => ({
      codes: [...new Set([...codes, String(next(5))])],
      packs: { ...packs, [String(next(5))]: String(1 + next(3)) },
    }),
    ({ codes }) => ({ codes: codes.filter((code) => code !== String(next(5))) }),
  ];
  for (let world = 0; world < 200; world++) {
    let [one, other] = [tab(0.1), tab(0.2)];
    for (let step = 0; step < 12; step++) {
      const deed = deeds[next(deeds.length)] as (of: Typed) => Partial<Typed>;
      const what = next(4);
      if (what === 0) one = types(one, deed(one.form));
      else if (what === 1) other = types(other, deed(other.form));
      else if (what === 2) one = told(one, other);
      else other = told(other, one);
    }
    const [here, there] = [told(one, other), told(other, one)];
    expect(shown(here)).toEqual(shown(there));
  }
});
