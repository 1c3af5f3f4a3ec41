/**
 * What somebody types in a search, as the index of words understands it; and what they may have meant.
 *
 * Knows: words and slips of the finger. Must not know: the database. All of it is pure.
 */

/** A word that nothing begins with is compared with so many that come near at most. */
const NEAR_MAX = 8;
const MIDDLE_LENGTH_MIN = 3;

/** Lower case, without accents: as the index compares. */
export const plain = (word: string): string =>
  word.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

const quoted = (word: string): string => `"${word.replaceAll('"', "")}"`;

/** The words that are typed; what has neither letter nor digit is none. */
export const split = (typed: string): string[] =>
  typed.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));

/** Beginnings of words, all of them, in any order; "" when nothing is typed. */
export const beginnings = (typed: string): string =>
  split(typed)
    .map((word) => `${quoted(word)}*`)
    .join(" ");

/** Return how many slips are forgiven in a word of this length. */
function slipsMax(length: number): number {
  if (length < 4) return 0;
  return length < 7 ? 1 : 2;
}

/**
 * The least number of slips that make `typed` the beginning of `word`: a letter wrong, missing, too
 * many, or two changed over. Gives up above `max`.
 */
export function slips(typed: string, word: string, max: number): number {
  const width = Math.min(word.length, typed.length + max);
  let [before, last] = [[] as number[], Array.from({ length: width + 1 }, (_, at) => at)];
  for (let row = 1; row <= typed.length; row += 1) {
    const now = [row];
    for (let column = 1; column <= width; column += 1) {
      const same = typed[row - 1] === word[column - 1];
      let least = Math.min(
        (last[column] ?? 0) + 1,
        (now[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const crossed =
        row > 1 &&
        column > 1 &&
        typed[row - 1] === word[column - 2] &&
        typed[row - 2] === word[column - 1];
      if (crossed) least = Math.min(least, (before[column - 2] ?? 0) + 1);
      now.push(least);
    }
    if (Math.min(...now) > max) return max + 1;
    [before, last] = [last, now];
  }
  return Math.min(...last);
}

/** The words of names, ready to be compared with. */
export function vocabulary(words: readonly string[]): readonly string[] {
  const parts = words.flatMap((word) => plain(word).split(/[^\p{L}\p{N}]+/u));
  return [...new Set(parts.filter((word) => word !== ""))].sort();
}

/** Words of the vocabulary that have `typed` in them, or begin almost like it; the nearest first. */
export function near(typed: string, known: readonly string[]): string[] {
  const max = slipsMax(typed.length);
  const found: [number, string][] = [];
  for (const word of known) {
    if (word.startsWith(typed)) found.push([0, word]);
    else if (typed.length >= MIDDLE_LENGTH_MIN && word.includes(typed)) found.push([0.5, word]);
    else if (max > 0) {
      const distance = slips(typed, word, max);
      if (distance <= max) found.push([distance, word]);
    }
  }
  const length = (word: string): number => Math.abs(word.length - typed.length);
  found.sort(([left, one], [right, other]) => left - right || length(one) - length(other));
  // A word with one slip is not meant when another has none.
  const least = found[0]?.[0] ?? 0;
  return found
    .filter(([distance]) => distance <= Math.max(least, 0.5))
    .slice(0, NEAR_MAX)
    .map(([, word]) => word);
}

/** Return what may have been meant, for the index; null when nothing comes near one of the words. */
export function meant(typed: string, known: readonly string[]): string | null {
  const parts: string[] = [];
  for (const word of split(plain(typed))) {
    const close = near(word.replace(/[^\p{L}\p{N}]+/gu, ""), known);
    if (close.length > 0) parts.push(`(${close.map(quoted).join(" OR ")})`);
    else if (/\p{N}/u.test(word)) parts.push(`${quoted(word)}*`);
    else return null;
  }
  return parts.length === 0 ? null : parts.join(" AND ");
}
