/** Scanners of all rhythms are understood, whole or not at all; fingers never are taken for one. */

import { describe, expect, test } from "vitest";

import { type Key, type Known, UNKNOWN } from "../../src/shell/scanning/burst.js";
import { Ear, type Heard } from "../../src/shell/scanning/ear.js";
import { typedBy } from "../../src/shell/scanning/keys.js";

/** The same numbers each time (mulberry32). */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
const bell = (next: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

interface Played {
  readonly heard: Heard<number> | null;
  readonly ear: Ear<number>;
}

/** Play a text whose keys come after `gaps`, then Enter after the last of them. */
function play(
  text: string,
  gap: (at: number) => number,
  known: Partial<Known> = {},
  ear = new Ear<number>(() => ({ ...UNKNOWN, ...known })),
  startMs = 10_000,
): Played {
  let ms = startMs;
  let heard: Heard<number> | null = null;
  for (const [at, sign] of [...text].entries()) {
    ms += gap(at);
    heard ??= ear.press({ sign, place: sign, ms }, at);
  }
  ms += gap(text.length);
  return { heard: heard ?? ear.end(ms), ear };
}

const EANS = ["2000000000855", "4006381333931", "20000011", "049000028911", "14006381333938"];
const OWN = ["CORK-1", "SHELF A 12", "X-0001-B", "AB12"];
const canonical: Readonly<Record<string, string>> = { "049000028911": "0049000028911" };

describe("a scanner", () => {
  for (const gapMs of [5, 12, 25, 40, 60, 80, 100, 120])
    test(`of ${gapMs} ms a key, with a shaking hand of the radio`, () => {
      const next = chance(gapMs);
      for (let turn = 0; turn < 100; turn += 1) {
        const code = EANS[turn % EANS.length] ?? "";
        const shaking = (): number => Math.max(1, gapMs + bell(next) * Math.min(8, 0.15 * gapMs));
        const { heard } = play(code, shaking);
        expect(heard?.kind, code).toBe("code");
        expect(heard?.code).toBe(canonical[code] ?? code);
        expect(heard?.marks[0]).toBe(0);
      }
    });

  test("of the shop's own codes, fast or learnt", () => {
    const next = chance(1);
    for (const code of OWN) {
      expect(play(code, () => 8 + 10 * next()).heard).toMatchObject({ kind: "code", code });
      const slow = (): number => 90 + 12 * bell(next);
      expect(play(code, slow, { gapMs: 92 }).heard).toMatchObject({ kind: "code", code });
    }
  });

  test("that stumbles anywhere is understood whole, or told to be a part", () => {
    for (const gapMs of [5, 12, 30, 60, 100])
      for (const stumbleMs of [45, 70, 150, 400, 900, 1500, 3000])
        for (let at = 1; at < 13; at += 1) {
          const { heard, ear } = play("2000000000855", (key) => (key === at ? stumbleMs : gapMs));
          if (heard === null) continue;
          const where = `${gapMs} ms, ${stumbleMs} ms before key ${at}`;
          if (heard.kind === "code") expect(heard.code, where).toBe("2000000000855");
          else expect(["part", "unsure"], where).toContain(heard.kind);
          expect(ear.isRunning).toBe(false);
        }
    // Up to a second nothing is lost, wherever it is.
    for (const stumbleMs of [70, 400, 900])
      for (let at = 1; at < 13; at += 1)
        expect(play("2000000000855", (key) => (key === at ? stumbleMs : 10)).heard).toMatchObject({
          kind: "code",
          code: "2000000000855",
        });
  });

  test("whose beginning went elsewhere gives a part, even where its check digit fits", () => {
    // 20000011 is a whole number of its own.
    const { heard } = play("12345620000011", (key) => (key === 6 ? 2000 : 10));
    expect(heard).toMatchObject({ kind: "part" });
    expect(heard?.marks[0]).toBe(0);
    expect(play("0000855", () => 10).heard).toMatchObject({ kind: "unsure", code: "0000855" });
    expect(play("200000000085", () => 10).heard).toMatchObject({ kind: "unsure" });
  });

  test("behind what somebody has typed takes its own keys only", () => {
    const next = chance(3);
    for (const gapMs of [6, 20, 60, 110]) {
      const typed = "mug tree";
      const slow = (at: number): number =>
        at < typed.length ? 190 + 120 * next() : at === typed.length ? 1400 : gapMs;
      const { heard } = play(`${typed}4006381333931`, slow);
      expect(heard).toMatchObject({ kind: "code", code: "4006381333931" });
      expect(heard?.marks[0]).toBe(typed.length);
    }
  });

  test("with something around its codes", () => {
    const known = { prefix: "~", suffix: "#" };
    expect(play("~CORK-1#", () => 10, known).heard).toMatchObject({ kind: "code", code: "CORK-1" });
    expect(play("CORK-1", () => 10, known).heard).toBeNull();
    expect(play("]E04006381333931", () => 10).heard).toMatchObject({ code: "4006381333931" });
    const { ear } = play("~CORK-1#", () => 10, known);
    expect(ear.isTail(10_000 + 8 * 10 + 20)).toBe(true);
    expect(ear.isTail(12_000)).toBe(false);
  });

  test("that ends with nothing is heard after a pause, when it is set so", () => {
    for (const ending of ["none", "key"] as const) {
      const ear = new Ear<number>(() => ({ ...UNKNOWN, ending }));
      [..."4006381333931"].forEach((sign, at) => ear.press({ sign, place: sign, ms: at * 10 }, at));
      expect(ear.idle(400)?.code).toBe(ending === "none" ? "4006381333931" : undefined);
    }
  });

  test("that thinks of another keyboard than the system", () => {
    const ear = new Ear<number>(() => UNKNOWN);
    const french: Record<string, string> = {
      0: "à", 1: "&", 2: "é", 3: '"', 4: "'", 5: "(", 6: "-", 7: "è", 8: "_", 9: "ç",
    }; // prettier-ignore
    for (const [at, digit] of [..."4006381333931"].entries()) {
      const key = { key: french[digit] ?? "", code: `Digit${digit}`, shiftKey: false };
      const typed = typedBy({ ...key, ctrlKey: false, altKey: false, metaKey: false });
      ear.press({ ...(typed as Omit<Key, "ms">), ms: at * 10 }, at);
    }
    expect(ear.run("key")).toMatchObject({ text: "4006381333931", byPlace: true, gapMs: 10 });
    expect(ear.end(130)).toMatchObject({ kind: "code", code: "4006381333931" });
  });
});

describe("fingers", () => {
  const WORDS = [
    "mug",
    "enamel mug",
    "DN-2026-11",
    "Stoneware",
    "12",
    "144",
    "20000011",
    "MUG-001",
  ];
  test.each([
    [90, 0.3],
    [130, 0.35],
    [180, 0.4],
    [260, 0.5],
  ])("of %d ms a key", (medianMs, spread) => {
    const next = chance(medianMs);
    let taken = 0;
    for (let turn = 0; turn < 1500; turn += 1) {
      const word = WORDS[turn % WORDS.length] ?? "";
      const human = (): number => Math.max(35, medianMs * Math.exp(spread * bell(next)));
      const { heard } = play(word, human);
      // A whole article number that somebody types in one go is looked up, as if it were scanned.
      if (heard !== null && word !== "20000011") taken += 1;
    }
    expect(taken).toBe(0);
  });

  test("that hold a key, or press three at once, scan nothing", () => {
    expect(play("000", () => 30).heard).toBeNull();
    expect(play("asd", () => 5).heard).toBeNull();
  });
});

test.each([
  [
    { key: "1", code: "Digit1" },
    { sign: "1", place: "1" },
  ],
  [
    { key: "!", code: "Digit1", shiftKey: true },
    { sign: "!", place: "1" },
  ],
  [
    { key: "q", code: "KeyA" },
    { sign: "q", place: "a" },
  ],
  [
    { key: "7", code: "Numpad7" },
    { sign: "7", place: "7" },
  ],
  [
    { key: "Unidentified", code: "Digit4" },
    { sign: "4", place: "4" },
  ],
  [
    { key: "]", code: "BracketRight", ctrlKey: true },
    { sign: "\u001d", place: "\u001d" },
  ],
  [{ key: "a", code: "KeyA", ctrlKey: true }, null],
  [
    { key: "€", code: "KeyE", ctrlKey: true, altKey: true },
    { sign: "€", place: "e" },
  ],
  [{ key: "ArrowUp", code: "ArrowUp" }, null],
])("the key %o", (event, typed) => {
  const plain = { shiftKey: false, ctrlKey: false, altKey: false, metaKey: false };
  expect(typedBy({ ...plain, ...event })).toEqual(typed);
});
