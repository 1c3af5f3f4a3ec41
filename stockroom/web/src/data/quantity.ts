/**
 * Whole numbers as people type them, and numbers that nobody may have meant.
 *
 * Knows: digits of every script, and what a scan looks like that went into a field of numbers. Must not
 * know: fields or screens. All of it is pure. A number that is doubted is asked about, never changed.
 */

import { doubt } from "./codes.js";
import { QUANTITY_MAX } from "./schema.generated.js";

/** Reason that what was typed is no quantity. */
export type NotWhole = "empty" | "fraction" | "negative" | "huge" | "not";

const DIGIT = /\p{Nd}/u;
/** Between the digits of a large number: blanks, and the marks of one script or another. */
const GROUPED = /^\d{1,3}(?:([\s'’,.٬])\d{3}(?:\1\d{3})*)$/;

/** The same of what has other forms, such as those of full width. */
export const plainDigits = (text: string): string => ownDigits(text.normalize("NFKC"));

/** Digits of any script as 0 to 9; those of each stand together in Unicode, and begin with zero. */
export function ownDigits(text: string): string {
  return [...text]
    .map((sign) => {
      if (!DIGIT.test(sign)) return sign;
      const point = sign.codePointAt(0) ?? 0;
      let value = 0;
      while (DIGIT.test(String.fromCodePoint(point - 1 - value))) value += 1;
      return String(value % 10);
    })
    .join("");
}

/**
 * A whole number from 0 to the most that one movement may hold, or why it is none. `group`: the mark that
 * the reader's language puts between thousands; another one may be that of a fraction.
 */
export function parseWhole(typed: string, group = ","): number | NotWhole {
  const text = plainDigits(typed).trim();
  if (text === "") return "empty";
  if (/^[-−–]\s*\d/.test(text)) return "negative";
  const found = GROUPED.exec(text);
  const isGrouped = found !== null && (!/[,.]/.test(found[1] ?? "") || found[1] === group);
  const digits = isGrouped ? text.replace(/\D/g, "") : text;
  if (/^\d*[.,]\d+$/.test(digits)) return "fraction";
  if (!/^\d+$/.test(digits)) return "not";
  const whole = Number(digits);
  return whole > QUANTITY_MAX ? "huge" : whole;
}

/** Reason to ask about a number: it may be a code that was scanned, or a slip of the finger. */
export type Implausible = "scan" | "outlier";

const FACTOR_MAX = 10;
const PLAIN_MAX = 1000;
const SCANNED = /^\d{8}$|^\d{12,14}$/;
const KNOWN_LENGTH_MIN = 4;

/** True for what has the form and the check digit of an article number. */
export const looksScanned = (typed: string): boolean => {
  const text = plainDigits(typed).trim();
  if (!SCANNED.test(text) || /^0+$/.test(text)) return false;
  // Of eight digits the check digit is looked at as that of the same number with zeros in front.
  return doubt(text.padStart(13, "0")) === null;
};

/** True for what may be a code of the shop's own, so that looking it up is worth it. */
export const mayBeCode = (typed: string): boolean => typed.trim().length >= KNOWN_LENGTH_MIN;

/** Return why this quantity is asked about, or null. `isCode`: a product has this code. */
export function implausible(
  typed: string,
  quantity: number,
  onHand: number,
  isCode: boolean,
): Implausible | null {
  if (isCode || looksScanned(typed)) return "scan";
  const usual = Math.max(PLAIN_MAX, FACTOR_MAX * Math.max(0, onHand));
  return quantity > usual ? "outlier" : null;
}
