/** Codes before a camera count once, however long they lie there; and who reads them is chosen by what can. */

import { expect, test } from "vitest";

import { browserFormats } from "../../src/shell/camera/reader.js";
import { PAUSE_MS, Sight } from "../../src/shell/camera/sight.js";

const EAN = "4006381333931";
const LOOK_MS = 100;

/** What counts of one picture after another; times by their numbers. */
function watch(pictures: readonly (readonly string[])[], gapMs = LOOK_MS): string[][] {
  const sight = new Sight();
  return pictures.map((texts, at) => sight.see(texts, 5_000 + at * gapMs));
}

test("a code counts once as long as it is seen, even where a picture in between was blurred", () => {
  const held = Array.from({ length: 60 }, (_, at) => (at % 5 === 3 ? [] : [EAN]));
  expect(watch(held).flat()).toEqual([EAN]);
});

test("it counts again when it was away for the pause, and not sooner", () => {
  const away = (ms: number) => Array<string[]>(ms / LOOK_MS - 1).fill([]);
  expect(watch([[EAN], ...away(PAUSE_MS), [EAN]]).flat()).toEqual([EAN, EAN]);
  expect(watch([[EAN], ...away(PAUSE_MS - LOOK_MS), [EAN]]).flat()).toEqual([EAN]);
});

test("another code counts at once, and two in one picture both do", () => {
  expect(watch([[EAN], ["5901234123457"], [EAN]])).toEqual([[EAN], ["5901234123457"], []]);
  expect(watch([[EAN, "96385074"]])).toEqual([[EAN, "96385074"]]);
});

test("one number in several writings is one code", () => {
  expect(watch([["]E0036000291452", "036000291452"], ["]E00036000291452"]]).flat()).toEqual([
    "0036000291452",
  ]);
  expect(watch([["]C10104006381333931\u001d10AB"], [`]E0${EAN}`]]).flat()).toEqual([EAN]);
});

test("what has no check digit is believed when two pictures say so", () => {
  expect(watch([["SHELF-7"], [], ["SHELF-1"], ["SHELF-7"], ["SHELF-7"]]).flat()).toEqual([
    "SHELF-7",
  ]);
  expect(watch([["SHELF-7"], ["SHELF-7"]], 5_000).flat()).toEqual([]);
  expect(watch([[""], ["  "]]).flat()).toEqual([]);
});

test.each([
  ["there is none", undefined, 0],
  ["it knows nothing", { getSupportedFormats: () => Promise.resolve([]) }, 0],
  ["it knows only QR", { getSupportedFormats: () => Promise.resolve(["qr_code"]) }, 0],
  ["it fails", { getSupportedFormats: () => Promise.reject(new Error("no service")) }, 0],
  ["it reads a shop's", { getSupportedFormats: () => Promise.resolve(["ean_13", "ean_8", "upc_a", "code_128", "aztec"]) }, 4],
])("the browser's own detector: %s", async (_, detector, count) => {
  expect(await browserFormats(detector)).toHaveLength(count);
}); // prettier-ignore
