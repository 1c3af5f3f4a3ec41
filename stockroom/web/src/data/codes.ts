/**
 * Article numbers as they are scanned, printed and typed, in the one form in which they are kept.
 *
 * Knows: GTINs (GS1 General Specifications, section 7.9: check digits) and the identifiers that scanners put
 * in front (ISO/IEC 15424). Must not know: the database. The twin of `stockroom/codes.py`; both are
 * held to `tests/cases/codes.json`.
 *
 * UPC-A (12 digits), EAN-13 and a GTIN-14 that begins with 0 are one number with more or fewer zeros in
 * front: it is kept with 13 digits. A GTIN-14 of a case keeps its 14, an EAN-8 its 8. Codes of the
 * shop's own are kept as they are.
 */

/** Reason that a code may be a mistake: its check digit is wrong, or a spreadsheet has shortened it. */
export type Doubt = "bad_check_digit" | "shortened";

const AIM = /^\][A-Za-z]\d/;
/** Carriers of element strings; the element 01 is a GTIN of 14 digits. */
const GS1: readonly string[] = ["]C1", "]e0", "]d2", "]Q3"];
const GS1_GTIN = /^01(\d{14})/;
const BETWEEN = /[\s\u2010-\u2015-]+/g;
const DIGITS = /^[0-9]+$/;
const SHORTENED = /^[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+$/;
/** Digits of numbers that have a check digit for sure; those of 8 may be the shop's own. */
const CHECKED_LENGTHS: readonly number[] = [12, 13, 14];

/** The one form of a code, however it was scanned, printed or typed; "" for nothing. */
export function canonical(text: string): string {
  const code = withoutAim(text.trim());
  const digits = code.replace(BETWEEN, "");
  if (!DIGITS.test(digits)) return code;
  if (!isGtin(digits)) return digits;
  const number = digits.replace(/^0+/, "");
  return number.padStart(number.length <= 8 ? 8 : 13, "0");
}

/** Return why a code may be a mistake, or null. */
export function doubt(text: string): Doubt | null {
  const code = withoutAim(text.trim());
  if (SHORTENED.test(code)) return "shortened";
  const digits = code.replace(BETWEEN, "");
  const checked = DIGITS.test(digits) && CHECKED_LENGTHS.includes(digits.length);
  return checked && !checks(digits) ? "bad_check_digit" : null;
}

function withoutAim(text: string): string {
  const found = AIM.exec(text)?.[0];
  if (found === undefined || found.length === text.length) return text;
  const rest = text.slice(found.length).trim();
  return (GS1.includes(found) ? GS1_GTIN.exec(rest)?.[1] : undefined) ?? rest;
}

/** Whether these digits are a GTIN; 9 to 11 have lost the zeros in front. */
const isGtin = (digits: string): boolean =>
  digits.length >= 8 && digits.length <= 14 && /[1-9]/.test(digits) && checks(digits);

/** Return whether the last digit is the check digit of the others: weights 3, 1, 3... from the right. */
function checks(digits: string): boolean {
  const body = [...digits.slice(0, -1)].reverse();
  const total = body.reduce((sum, digit, at) => sum + Number(digit) * (at % 2 === 0 ? 3 : 1), 0);
  return (total + Number(digits.at(-1))) % 10 === 0;
}
