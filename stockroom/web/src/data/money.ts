/**
 * Prices as people type and read them, and as they are stored: integer minor units.
 *
 * Knows: how many digits a currency has. Must not know: exchange rates or taxes.
 */

import { UNUSUAL_DIGITS } from "./currencies.generated.js";
import { PRICE_MAX } from "./schema.generated.js";

/** Digits after the point: two where ISO 4217 does not say otherwise. `Intl` knows other ones of some. */
export const digits = (currency: string): number => UNUSUAL_DIGITS[currency] ?? 2;

/** Minor units of an amount such as `12.50` or `12,50`; null for what is none. */
export function parsePrice(typed: string, currency: string): number | null {
  const found = /^(\d{1,13})(?:[.,](\d+))?$/.exec(typed.trim());
  if (found === null) return null;
  const [, major = "", minor = ""] = found;
  const places = digits(currency);
  if (minor.length > places) return null;
  const amount = Number(major) * 10 ** places + Number(minor.padEnd(places, "0") || 0);
  return amount <= PRICE_MAX ? amount : null;
}

/** `1250`, `EUR` as `12.50`, to be typed over. */
export function plainPrice(minor: number, currency: string): string {
  const places = digits(currency);
  const shown = String(Math.abs(minor)).padStart(places + 1, "0");
  const sign = minor < 0 ? "-" : "";
  return places === 0 ? sign + shown : `${sign}${shown.slice(0, -places)}.${shown.slice(-places)}`;
}

/** As the reader's language writes it. */
export function formatPrice(minor: number, currency: string, language: string): string {
  try {
    const places = digits(currency);
    return new Intl.NumberFormat(language, {
      style: "currency",
      currency,
      minimumFractionDigits: places,
      maximumFractionDigits: places,
    }).format(minor / 10 ** places);
  } catch {
    return `${plainPrice(minor, currency)} ${currency}`;
  }
}
