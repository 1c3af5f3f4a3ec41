/**
 * A hand scanner told from fingers by rhythm: which of the last keys are one code.
 *
 * Knows: times of keys. Must not know: the page, or what a code means; what has a check digit that fits is
 * told by `isWhole`. All of it is pure. Scanners type a key each 5 to 120 ms, as even as a machine; now and
 * then one of them stumbles. People take as long, but never as evenly. A burst whose beginning is in doubt
 * is taken whole: a part of a code must not pass for a code.
 */

export interface Key {
  /** As the keyboard's layout has it, and as an American one has it in the same place. */
  readonly sign: string;
  readonly place: string;
  readonly ms: number;
}

export interface Burst {
  /** The first of its keys. */
  readonly from: number;
  readonly text: string;
  /** Median of the pauses between its keys. */
  readonly gapMs: number;
  /** Whether its text proves itself, by a check digit or by what a scanner puts in front. */
  readonly isWhole: boolean;
}

/** Properties that a scanner is known by: `gapMs` was measured on the scanner test page. */
export interface Known {
  readonly gapMs: number | null;
  readonly prefix: string;
  readonly suffix: string;
  /** Keys by their places: the scanner and the system think of other layouts. */
  readonly byPlace: boolean;
  /** Whether it presses Enter or Tab behind a code, or nothing. */
  readonly ending: "key" | "none";
}

export const UNKNOWN: Known = {
  gapMs: null, prefix: "", suffix: "", byPlace: false, ending: "key",
}; // prettier-ignore

/** Nobody keeps this up for more than three keys. */
export const FAST_MS = 45;
/** Slower than any scanner. */
export const SLOW_MS = 140;
/** A stumble within a burst: another program, a weak radio link. */
const STUMBLE_MS = 1000;
/** Keys of a shorter run say nothing about their rhythm. */
const LENGTH_MIN = 4;
/** Without anything that proves it, a slow run has to be this long. */
const SLOW_LENGTH_MIN = 8;
const SLOW_DIGITS_MIN = 6;
/** The radio and the bus hand keys over in steps of some ms. */
const STEP_MS = 9;
const EVEN = 0.12;
const EVEN_LEARNT = 0.4;
const EVEN_PROVED = 0.5;

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
};

/** The longest pause that belongs to a rhythm. */
const within = (gapMs: number): number => Math.max(2.2 * gapMs, gapMs + 25);

/** Pauses before each key; of the first one there is none. */
export const gapsOf = (keys: readonly Key[]): number[] =>
  keys.map(({ ms }, at) => (at === 0 ? Infinity : ms - (keys[at - 1]?.ms ?? ms)));

/** Return where the unbroken run that ends before `end` begins. */
export function runBefore(gaps: readonly number[], end: number): number {
  let from = end - 1;
  const taken: number[] = [];
  while (from > 0) {
    const gap = gaps[from] ?? Infinity;
    const near = taken.length < 3 ? gaps.slice(Math.max(1, from - 2), from + 1) : taken;
    if (gap > within(median(near)) || gap > 2 * SLOW_MS) break;
    taken.push(gap);
    from -= 1;
  }
  return from;
}

export const rhythmOf = (gaps: readonly number[], from: number, end: number): number =>
  median(gaps.slice(from + 1, end));

/** Beginnings that the burst may have, the latest first: over each stumble it may go on before. */
function beginnings(gaps: readonly number[], end: number): number[] {
  const found = [runBefore(gaps, end)];
  const gapMs = rhythmOf(gaps, found[0] ?? 0, end);
  for (;;) {
    const last = found.at(-1) ?? 0;
    const stumble = gaps[last] ?? Infinity;
    if (last === 0 || stumble > STUMBLE_MS) return found;
    const from = runBefore(gaps, last);
    const before = rhythmOf(gaps, from, last);
    // One or two keys have no rhythm of their own; fingers have another one.
    const isAlike = last - from <= 2 || before <= within(Math.max(gapMs, FAST_MS / 2));
    if (!isAlike) return found;
    found.push(from);
  }
}

/** Share of pauses that are as long as the median, give or take. */
function evenness(gaps: readonly number[], gapMs: number, give: number): number {
  const room = Math.max(give * gapMs, STEP_MS);
  return gaps.filter((gap) => Math.abs(gap - gapMs) <= room).length / Math.max(1, gaps.length);
}

function isMachine(
  gaps: readonly number[],
  endMs: number,
  text: string,
  isWhole: boolean,
  known: Known,
): boolean {
  const gapMs = median(gaps);
  const length = gaps.length + 1;
  if (length < LENGTH_MIN || gapMs > SLOW_MS || endMs > STUMBLE_MS) return false;
  if (gapMs <= FAST_MS) return evenness(gaps, gapMs, 1) > 0.5;
  const isEnded = endMs <= 2.5 * gapMs;
  const isLearnt = known.gapMs !== null && Math.abs(gapMs - known.gapMs) <= 0.35 * known.gapMs;
  if (isLearnt && isEnded && evenness(gaps, gapMs, EVEN_LEARNT) >= 0.8) return true;
  if (isWhole && isEnded && evenness(gaps, gapMs, EVEN_PROVED) >= 0.8) return true;
  const lengthMin = /^\d+$/.test(text) ? SLOW_DIGITS_MIN : SLOW_LENGTH_MIN;
  return length >= lengthMin && evenness([...gaps, endMs], gapMs, EVEN) >= 0.9;
}

/** The text of keys, or null: with a prefix set, nothing else is a scan. */
export function textOf(
  keys: readonly Key[],
  known: Known,
  isWhole: (text: string) => boolean,
): string | null {
  const read = (by: "sign" | "place"): string | null => {
    const text = keys.map((key) => key[by]).join("");
    if (!text.startsWith(known.prefix)) return null;
    const isSuffixed = known.suffix !== "" && text.endsWith(known.suffix);
    return text.slice(known.prefix.length, isSuffixed ? -known.suffix.length : undefined);
  };
  const bySign = read("sign");
  if (bySign !== null && !known.byPlace && isWhole(bySign)) return bySign;
  // Digits that come out as other signs: the scanner thinks of another layout than the system.
  const byPlace = read("place");
  const fits = byPlace !== null && (known.byPlace || isWhole(byPlace));
  return fits ? byPlace : bySign;
}

/**
 * The burst that these keys end with, when a key that ends codes follows at `endMs`; null when fingers
 * have typed them.
 */
export function burstIn(
  keys: readonly Key[],
  endMs: number,
  known: Known,
  isWhole: (text: string) => boolean,
): Burst | null {
  if (keys.length < LENGTH_MIN) return null;
  const gaps = gapsOf(keys);
  let best: Burst | null = null;
  for (const from of beginnings(gaps, keys.length)) {
    const text = textOf(keys.slice(from), known, isWhole);
    if (text === null) continue;
    const inner = gaps.slice(from + 1);
    const burst = { from, text, gapMs: median(inner), isWhole: isWhole(text) };
    const last = endMs - (keys.at(-1)?.ms ?? endMs);
    if (!isMachine(inner, last, text, burst.isWhole, known)) continue;
    // What proves itself is the code; else the longest is taken, never a part of it.
    if (burst.isWhole && best?.isWhole !== true) best = burst;
    else if (best?.isWhole !== true) best = burst;
  }
  return best;
}
