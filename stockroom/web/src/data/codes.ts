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

const AIM = /^\][A-Za-z][0-9]/;
/** Carriers of element strings; the element 01 is a GTIN of 14 digits. */
const GS1: readonly string[] = ["]C1", "]e0", "]e1", "]e2", "]d2", "]Q3", "]J1"];
/** Between elements whose length is not fixed. */
const GROUP = "\u001d";
const WITH_BRACKETS = /^(?:\([0-9]{2,4}\)[^()]+)+$/;
const GTIN_IN_BRACKETS = /\(01\)([0-9]{14})(?:\(|$)/;
/** An element in front of another: of a fixed length, or up to the sign between them. */
// eslint-disable-next-line no-control-regex -- the sign is one that scanners send
const FIXED = /^(?:00[0-9]{18}|02[0-9]{14}|1[1-7][0-9]{6}|20[0-9]{2}|[^\u001d]*\u001d)(?=.)/;
const BARE_GTIN = /^01([0-9]{14})/;
/** A book or a magazine: its number, and behind it those of the price or the issue. */
const WITH_ADD_ON = /^([0-9]{13})[0-9]{2}(?:[0-9]{3})?$/;
const BLANK = " \\t\\n\\r\\f\\v\\u00a0\\u2000-\\u200a\\u202f\\u3000";
const BETWEEN = new RegExp(`[${BLANK}\\u2010-\\u2015-]+`, "g");
const EDGES = new RegExp(`^[${BLANK}]+|[${BLANK}]+$`, "g");
const DIGITS = /^[0-9]+$/;
const SHORTENED = /^[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+$/;
/** Digits of numbers that have a check digit for sure; those of 8 may be the shop's own. */
const CHECKED_LENGTHS: readonly number[] = [12, 13, 14];

/** The one form of a code, however it was scanned, printed or typed; "" for nothing. */
export function canonical(text: string): string {
  const code = bare(text);
  const digits = code.replace(BETWEEN, "");
  if (!DIGITS.test(digits)) return code;
  if (!isGtin(digits)) return digits;
  const number = digits.replace(/^0+/, "");
  return number.padStart(number.length <= 8 ? 8 : 13, "0");
}

/** Return why a code may be a mistake, or null. */
export function doubt(text: string): Doubt | null {
  const code = bare(text);
  if (SHORTENED.test(code)) return "shortened";
  const digits = code.replace(BETWEEN, "");
  const checked = DIGITS.test(digits) && CHECKED_LENGTHS.includes(digits.length);
  return checked && !checks(digits) ? "bad_check_digit" : null;
}

/**
 * True where a part of it would hardly pass for it: by its check digit, or by what is in front. Eight digits may
 * be an EAN-8 or a UPC-E, whose check digit is that of the number it is short for.
 */
export function provesItself(text: string): boolean {
  const plain = text.replace(EDGES, "");
  const code = bare(text);
  const digits = code.replace(BETWEEN, "");
  if (!DIGITS.test(digits) || /^0*$/.test(digits)) return AIM.test(plain) && code !== plain;
  if (digits.length === 8 && /^[01]/.test(digits) && checks(expanded(digits))) return true;
  return [8, ...CHECKED_LENGTHS].includes(digits.length) && checks(digits);
}

/** The code without what a scanner puts in front; of GS1 elements the GTIN, where there is one. */
function bare(text: string): string {
  let plain = text.replace(EDGES, "");
  let aim = AIM.exec(plain)?.[0] ?? "";
  if (aim.length === plain.length) aim = "";
  plain = aim === "" ? plain : plain.slice(aim.length).replace(EDGES, "");
  const isElements = GS1.includes(aim) || plain.startsWith(GROUP);
  const [inner, outer] = [/^\u001d+/, /^\u001d+|\u001d+$/g]; // eslint-disable-line no-control-regex
  const gtin = gtinIn(plain.replace(inner, ""), isElements);
  if (gtin !== null) return gtin;
  const withAddOn = aim === "]E3" ? WITH_ADD_ON.exec(plain)?.[1] : undefined;
  return withAddOn ?? plain.replace(outer, "");
}

/** The element 01, wherever it stands; without a sign of its carrier only a GTIN that fits. */
function gtinIn(elements: string, isElements: boolean): string | null {
  if (WITH_BRACKETS.test(elements)) return GTIN_IN_BRACKETS.exec(elements)?.[1] ?? null;
  let rest = elements;
  for (;;) {
    const skipped = FIXED.exec(rest)?.[0];
    if (skipped === undefined || rest.startsWith("01")) break;
    rest = rest.slice(skipped.length);
  }
  const [whole, gtin] = BARE_GTIN.exec(rest) ?? [];
  if (whole === undefined || gtin === undefined) return null;
  const isAlone = rest.length === whole.length || elements.includes(GROUP);
  return isElements || (isAlone && checks(gtin)) ? gtin : null;
}

/** The UPC-A that eight digits of a UPC-E are short for. */
function expanded(digits: string): string {
  const [system = "", check = "", last = ""] = [digits[0], digits[7], digits[6]];
  const body = digits.slice(1, 6);
  let number = `${body}0000${last}`;
  if ("012".includes(last)) number = `${body.slice(0, 2)}${last}0000${body.slice(2)}`;
  else if (last === "3") number = `${body.slice(0, 3)}00000${body.slice(3)}`;
  else if (last === "4") number = `${body.slice(0, 4)}00000${body.slice(4)}`;
  return system + number + check;
}

/** Whether these digits are a GTIN; 9 to 11 have lost the zeros in front. */
const isGtin = (digits: string): boolean =>
  digits.length >= 8 && digits.length <= 14 && /[1-9]/.test(digits) && checks(digits);

/** The check digit that belongs behind digits: weights 3, 1, 3... from the right. */
export function checkDigit(body: string): string {
  const digits = [...body].reverse();
  const total = digits.reduce((sum, digit, at) => sum + Number(digit) * (at % 2 === 0 ? 3 : 1), 0);
  return String((10 - (total % 10)) % 10);
}

/** Return whether the last digit is the check digit of the others. */
const checks = (digits: string): boolean => digits.at(-1) === checkDigit(digits.slice(0, -1));
