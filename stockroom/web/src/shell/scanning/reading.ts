/**
 * What came out of a burst: a code that proves itself, one of the shop's own, or a part of one.
 *
 * Knows: article numbers. Must not know: the database; which numbers the shop has itself is asked by who
 * listens. Upholds: digits without a check digit that fits are never a new code.
 */

import { canonical, provesItself } from "../../data/codes.js";

/** `unsure`: digits that may be a part of a code, unless the shop has just that number. */
export interface Reading {
  readonly code: string;
  readonly kind: "code" | "unsure";
}

const DIGITS = /^[\d\s\-‐-―]+$/;

export function readingOf(text: string): Reading {
  const isSure = provesItself(text) || !DIGITS.test(text);
  return { code: canonical(text), kind: isSure ? "code" : "unsure" };
}

/** For the burst: text that a part of it would hardly pass for. */
export const isWhole = (text: string): boolean => provesItself(text);
