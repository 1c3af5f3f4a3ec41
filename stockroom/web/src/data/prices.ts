/**
 * Prices as people type them, in any of our languages: `1.234,50`, `1,234.50`, `1 234,50`, `€12.50`.
 *
 * Knows: digits of every script, marks between groups and before fractions, signs of currencies. Must not
 * know: fields or the database. The twin of `stockroom/prices.py`; both are held to
 * `tests/cases/prices.json`. What can be read in two ways is not guessed: it is asked about.
 */

import { COMMA_LANGUAGES, CURRENCY_SIGNS, POINT_LANGUAGES } from "./currencies.generated.js";
import { digits } from "./money.js";
import { ownDigits } from "./quantity.js";
import { PRICE_MAX } from "./schema.generated.js";

/** Reason that what was typed is no price. `unclear`: it is one of two, a thousand times apart. */
export type NotPrice = "empty" | "not" | "negative" | "digits" | "huge" | "unclear" | "currency";

/** The mark before a fraction that is never one between groups. */
const SURE = "\u066b";
const AS: readonly (readonly [RegExp, string])[] = [
  [/[\u2212\u2010-\u2015\ufe63\uff0d]/g, "-"],
  [/[\u2019\u2018\u02bc\u00b4`\uff07\u066c\u02b9]/g, "'"],
  [/[\u00b7\u2e33]/g, SURE],
  [/[\uff0c\u060c]/g, ","],
  [/\uff0e/g, "."],
  [/\uff0b/g, "+"],
  [/\p{Cf}/gu, ""],
];
const SIGNS = Object.keys(CURRENCY_SIGNS).sort((one, other) => other.length - one.length);
const CODE = /^[a-z]{3}(?![a-z])/;
const CODE_BEHIND = /(?<![a-z])[a-z]{3}$/;
const BODY = /^[0-9.,'\u066b ]*[0-9][0-9.,'\u066b ]*$/;
/** As in `12,-`: nothing behind the point. */
const ROUND = /[.,] ?-+$/;
const GROUPS = /^[0-9]{1,3}(?:([ ',.])[0-9]{2,3}(?:\1[0-9]{2,3})*)?$/;
const LETTER = /^\p{L}$/u;

/** Minor units, or why it is no price. `language`: whose marks count where one mark may be two things; "" for
 * not known. */
export function readPrice(typed: string, currency: string, language: string): number | NotPrice {
  const found = amountIn(typed, currency);
  if ("not" in found) return found.not;
  const { body } = found;
  const places = digits(currency);
  const mark = markOf(body, places, language);
  if (mark === null) return "unclear";
  const at = mark === "" ? body.length : body.lastIndexOf(mark);
  const [whole, fraction] = [body.slice(0, at) || "0", body.slice(at + 1)];
  if (!isGrouped(whole) || !/^[0-9]*$/.test(fraction)) return "not";
  const behind = fraction.replace(/0+$/, "");
  if (behind.length > places) return "digits";
  const all = whole.replace(/[^0-9]/g, "").replace(/^0+/, "") + behind.padEnd(places, "0");
  return all.length > 15 || Number(all) > PRICE_MAX ? "huge" : Number(all);
}

/** The mark before a fraction in a language; "" where it is not known. */
export function decimalMark(language: string): "" | "." | "," {
  if (language === "") return "";
  const parts = language.replace("_", "-").toLowerCase().split("-");
  const short = `${parts[0] ?? ""}-${parts.at(-1) ?? ""}`;
  if (COMMA_LANGUAGES.includes(short)) return ",";
  return POINT_LANGUAGES.includes(parts[0] ?? "") || POINT_LANGUAGES.includes(short) ? "." : ",";
}

/** The amount in plain digits and its marks, without a currency beside it. */
function amountIn(typed: string, currency: string): { body: string } | { not: NotPrice } {
  let rest = plain(typed).toLowerCase();
  if (rest === "") return { not: "empty" };
  const head = front(rest, currency);
  let isNegative = head.found.includes("-") || head.rest.startsWith("(");
  rest = head.rest.replace(/^[()]+|[()]+$/g, "").trim();
  rest = rest.replace(ROUND, "");
  const tail = behindOf(rest, currency);
  isNegative ||= tail.found.includes("-");
  rest = tail.rest.trim().replace(ROUND, "");
  if ((head.found + tail.found).includes("!"))
    return { not: /[0-9]/.test(rest) ? "currency" : "not" };
  rest = rest.replace(/(?<=[0-9])[.,]$/, "");
  if (!BODY.test(rest)) return { not: "not" };
  return isNegative ? { not: "negative" } : { body: rest };
}

/** In the digits 0 to 9, with one form of each mark and single blanks. */
function plain(typed: string): string {
  const marked = AS.reduce((text, [from, to]) => text.replace(from, to), typed);
  return ownDigits(marked).replace(/\s+/g, " ").trim();
}

interface Apart {
  readonly rest: string;
  /** What was beside it: `-` below zero, `!` not ours. */
  readonly found: string;
}

function front(text: string, currency: string): Apart {
  let [rest, found] = [text, ""];
  while (rest !== "") {
    const [first = ""] = rest;
    if ("-+ ".includes(first)) {
      found += first === "-" ? "-" : "";
      rest = rest.slice(1);
      continue;
    }
    const isWhole = (name: string): boolean =>
      !(LETTER.test(name.at(-1) ?? "") && LETTER.test(rest[name.length] ?? ""));
    const name =
      SIGNS.find((one) => rest.startsWith(one) && isWhole(one)) ?? CODE.exec(rest)?.[0] ?? "";
    if (name === "") break;
    found += isOurs(name, currency) ? "" : "!";
    rest = rest.slice(name.length);
  }
  return { rest, found };
}

function behindOf(text: string, currency: string): Apart {
  let [rest, found] = [text, ""];
  while (rest !== "") {
    const last = rest.at(-1) ?? "";
    if ("- ".includes(last)) {
      found += last.trim();
      rest = rest.slice(0, -1);
      continue;
    }
    const isWhole = (name: string): boolean =>
      !(LETTER.test(name[0] ?? "") && LETTER.test(rest.slice(0, -name.length).at(-1) ?? ""));
    const name =
      SIGNS.find((one) => rest.endsWith(one) && isWhole(one)) ?? CODE_BEHIND.exec(rest)?.[0] ?? "";
    if (name === "") break;
    found += isOurs(name, currency) ? "" : "!";
    rest = rest.slice(0, -name.length);
  }
  return { rest, found };
}

const isOurs = (name: string, currency: string): boolean =>
  name.toUpperCase() === currency || (CURRENCY_SIGNS[name] ?? "").split(" ").includes(currency);

/** The mark before the fraction, "" for none, null where that is to be asked. */
function markOf(body: string, places: number, language: string): string | null {
  const marks = [...body].filter((one) => [".", ",", SURE].includes(one));
  const last = marks.at(-1);
  if (last === undefined) return "";
  if (/[ ']/.test(body) || new Set(marks).size > 1 || last === SURE) return last;
  if (marks.length > 1) return "";
  const [before = "", behind = ""] = body.split(last);
  if (behind.length !== 3 || before.length < 1 || before.length > 3 || before.startsWith("0"))
    return last;
  if (places === 0) return "";
  const fits = decimalMark(language);
  if (fits === last) return places >= 3 ? last : null;
  return fits !== "" && places < 3 ? "" : null;
}

/** True where its digits stand in groups: of three, or as in India of two before those. */
function isGrouped(whole: string): boolean {
  if (/^[0-9]+$/.test(whole)) return true;
  if (!GROUPS.test(whole)) return false;
  const [, ...others] = whole.split(/[^0-9]/);
  const lengths = new Set(others.slice(0, -1).map(({ length }) => length));
  return others.at(-1)?.length === 3 && lengths.size <= 1;
}
