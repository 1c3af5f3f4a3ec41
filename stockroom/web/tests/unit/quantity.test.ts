/** Quantities as people type them in any script; numbers that look like a scan or a slip are doubted. */

import { expect, test } from "vitest";

import { implausible, looksScanned, parseWhole } from "../../src/data/quantity.js";

test.each([
  ["7", ",", 7],
  [" 12 ", ",", 12],
  ["007", ",", 7],
  ["0", ",", 0],
  ["٤٢", ",", 42],
  ["１２", ",", 12],
  ["४५", ",", 45],
  ["1,234", ",", 1234],
  ["1.234", ".", 1234],
  ["1 234 567", ",", 1234567],
  ["1’234", ",", 1234],
  ["1.234", ",", "fraction"],
  ["1,5", ".", "fraction"],
  ["2.5", ",", "fraction"],
  [".5", ",", "fraction"],
  ["-3", ",", "negative"],
  ["−3", ",", "negative"],
  ["", ",", "empty"],
  ["  ", ",", "empty"],
  ["many", ",", "not"],
  ["1e3", ",", "not"],
  ["1,23", ",", "fraction"],
  ["1000000000", ",", 1_000_000_000],
  ["1000000001", ",", "huge"],
  ["2000000000855", ",", "huge"],
] as const)("%s, with %s between thousands", (typed, group, meant) => {
  expect(parseWhole(typed, group)).toBe(meant);
});

test.each([
  ["20000011", true],
  ["2000000000855", true],
  ["049000028911", true],
  ["20000012", false],
  ["00000000", false],
  ["144", false],
  ["1000000", false],
])("%s looks like a scan: %s", (typed, isSo) => {
  expect(looksScanned(typed)).toBe(isSo);
});

test.each([
  ["20000011", 70, false, "scan"],
  ["12345678", 0, true, "scan"],
  ["12345678", 70, false, "outlier"],
  ["1001", 100, false, "outlier"],
  ["1000", 3, false, null],
  ["1001", 101, false, null],
  ["1500", -20, false, "outlier"],
  ["40000", 5000, false, null],
] as const)("%s where %d are on hand", (typed, onHand, isCode, doubted) => {
  expect(implausible(typed, Number(typed), onHand, isCode)).toBe(doubted);
});
