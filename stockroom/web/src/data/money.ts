/**
 * Prices as people read them, and as they are stored: integer minor units.
 *
 * Knows: how many digits a currency has. Must not know: how they are typed (`prices.ts`),
 * exchange rates or taxes.
 */

import { UNUSUAL_DIGITS } from "./currencies.generated.js";

/** Digits after the point: two where ISO 4217 does not say otherwise. `Intl` knows other ones of some. */
export const digits = (currency: string): number => UNUSUAL_DIGITS[currency] ?? 2;

/** `1250`, `EUR` as `12.50`, to be typed over. */
export function plainPrice(minor: number, currency: string): string {
  const places = digits(currency);
  const shown = String(Math.abs(minor)).padStart(places + 1, "0");
  const sign = minor < 0 ? "-" : "";
  return places === 0 ? sign + shown : `${sign}${shown.slice(0, -places)}.${shown.slice(-places)}`;
}

/** As the reader's language writes it; `whole`: without cents. */
export function formatPrice(
  minor: number,
  currency: string,
  language: string,
  { whole = false } = {},
): string {
  try {
    const places = digits(currency);
    const shown = whole ? 0 : places;
    return new Intl.NumberFormat(language, {
      style: "currency",
      currency,
      minimumFractionDigits: shown,
      maximumFractionDigits: shown,
    }).format(minor / 10 ** places);
  } catch {
    return `${plainPrice(minor, currency)} ${currency}`;
  }
}
