/**
 * The words of the app, by key; numbers and times as the reader's language writes them.
 *
 * Knows: which languages there are. Must not know: where words stand. Nothing here makes markup.
 */

import i18next from "i18next";

import en from "./en.js";
import type { Given, Group, Key } from "./keys.js";

export type { Key, Under } from "./keys.js";

export const LANGUAGE = "en";

await i18next.init({
  lng: LANGUAGE,
  fallbackLng: LANGUAGE,
  resources: { en: { translation: en } },
  // Svelte writes text as text; escaping twice would show the escapes.
  interpolation: { escapeValue: false },
});

/** Have more words, from now on. */
export function add(words: object): void {
  i18next.addResourceBundle(LANGUAGE, "translation", words);
}

/** The words of a key, with everything filled in that they name. */
export function t<K extends Key>(key: K, ...given: Given<K>): string {
  return i18next.t(key, given[0] ?? {});
}

/** The words for what is only known when it runs, such as a code that a server sent, below `group`; those
 * of another key where there are none. */
export function tOr<K extends Key>(
  group: Group,
  name: string,
  other: K,
  ...given: Given<K>
): string {
  const key = `${group}.${name}`;
  return i18next.t(i18next.exists(key) ? key : other, given[0] ?? {});
}

const region = (): string =>
  navigator.language.startsWith(LANGUAGE) ? navigator.language : LANGUAGE;
const number = new Intl.NumberFormat(region());
const signed = new Intl.NumberFormat(region(), { signDisplay: "exceptZero" });
const clock = new Intl.DateTimeFormat(region(), {
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(region(), { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat(region(), {
  day: "numeric",
  month: "short",
  year: "numeric",
});

export const language = region();
/** The mark between thousands. */
export const groupMark =
  number.formatToParts(1_000_000).find(({ type }) => type === "group")?.value ?? "";
export const formatNumber = (value: number): string => number.format(value);
/** With its sign, and a real minus. */
export const formatSigned = (value: number): string => signed.format(value).replace("-", "−");

const either = new Intl.ListFormat(region(), { type: "disjunction" });
/** Names of which each will do: `Ada or Ben`. */
export const formatEither = (names: readonly string[]): string => either.format(names);

const size = new Intl.NumberFormat(region(), {
  style: "unit",
  unit: "megabyte",
  maximumFractionDigits: 1,
});
/** Bytes as people count them. */
export const formatSize = (bytes: number): string => size.format(bytes / 1_000_000);

/** The day alone. `us`: µs since 1970. */
export const formatDay = (us: number): string => day.format(new Date(us / 1000));

let clockOffsetMs = 0;

/** Set how far this device's clock is behind the true time: the day follows the corrected clock. */
export function correctClock(offsetMs: number): void {
  clockOffsetMs = offsetMs;
}

/** `10:42` today, else with the day. `us`: µs since 1970. */
export function formatTime(us: number): string {
  const then = new Date(us / 1000);
  const now = new Date(Date.now() + clockOffsetMs);
  if (then.toDateString() === now.toDateString()) return clock.format(then);
  const date = then.getFullYear() === now.getFullYear() ? day : dayOfYear;
  return `${date.format(then)}, ${clock.format(then)}`;
}

/** A length of time in its largest fitting unit, such as `3 h` or `12 s`. */
export function formatSpan(ms: number): string {
  const seconds = Math.round(Math.abs(ms) / 1000);
  if (seconds < 1) return `${Math.round(Math.abs(ms))} ms`;
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
