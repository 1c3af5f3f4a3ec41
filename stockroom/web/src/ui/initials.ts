/** Initials of a name, and the tint a picture tile takes: what stands for a picture where there is none. Pure. */

const TINTS = 6;
const segmenter = new Intl.Segmenter();

/** The first letter of the first two words that have one, in capitals; at most two. */
export function initials(name: string): string {
  const words = name.split(/[\s,./&+-]+/).filter((word) => /^[\p{L}\p{N}]/u.test(word));
  const first = words.slice(0, 2).map((word) => [...segmenter.segment(word)][0]?.segment ?? "");
  return first.join("").toLocaleUpperCase();
}

/** Tint that something takes: always the same for the same id, none without one. */
export function tintOf(id: string | null): string {
  if (id === null || id === "") return "var(--tint-none)";
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 997;
  return `var(--tint-${sum % TINTS})`;
}
