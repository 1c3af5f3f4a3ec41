/** What somebody types, and what they may have meant. */

import { describe, expect, test } from "vitest";

import { beginnings, meant, near, slips, vocabulary } from "../../src/data/words.js";

const KNOWN = vocabulary([
  "Enamel", "mug,", "jug,", "cream", "Kingfisher", "Kestrel", "Stoneware", "Crème", "0.5", "Notebook,",
]); // prettier-ignore

test("names fall into plain words", () => {
  expect(KNOWN).toEqual([
    "0", "5", "cream", "creme", "enamel", "jug", "kestrel", "kingfisher", "mug", "notebook", "stoneware",
  ]); // prettier-ignore
});

test.each([
  ["mug cream", '"mug"* "cream"*'],
  ['  a "b" - ', '"a"* "b"*'],
  ["- ,", ""],
  ['"', ""],
])("beginnings: %s", (typed, words) => {
  expect(beginnings(typed)).toBe(words);
});

test.each([
  ["mug", "mug", 0],
  ["mu", "mug", 0],
  ["mgu", "mug", 1],
  ["enmael", "enamel", 1],
  ["ename", "enamel", 0],
  ["enaamel", "enamel", 1],
  ["emamel", "enamel", 1],
  ["kingfihser", "kingfisher", 1],
  ["stonewear", "stoneware", 1],
  ["xxxxxx", "enamel", 3],
])("slips: %s for %s: %i", (typed, word, count) => {
  expect(slips(typed, word, 2)).toBe(count);
});

describe("what may have been meant", () => {
  test.each([
    ["enmael", ["enamel"]],
    ["kingfihser", ["kingfisher"]],
    ["stonewear", ["stoneware"]],
    ["otebo", ["notebook"]],
    ["ngfish", ["kingfisher"]],
    ["mgu", []], // too short to guess at
    ["qqqqqq", []],
  ])("%s", (typed, words) => {
    expect(near(typed, KNOWN)).toEqual(words);
  });

  test("every word has to come near something; accents do not count", () => {
    expect(meant("Enmael crème", KNOWN)).toBe('("enamel") AND ("creme")');
    expect(meant("enmael qqqqqq", KNOWN)).toBeNull();
    expect(meant("enmael 77", KNOWN)).toBe('("enamel") AND "77"*');
    expect(meant("", KNOWN)).toBeNull();
  });
});
