/**
 * Prices in fields and in lists: what was typed as an amount, or why it is none; and "no price yet".
 *
 * Knows: the words. Must not know: which field or list it is.
 */

import { formatPrice, plainPrice } from "../data/money.js";
import { decimalMark, readPrice } from "../data/prices.js";
import { language, t } from "../i18n/index.js";

/** Whose marks count where an amount can be read in two ways; "" where the app and the browser differ. */
const typedIn = decimalMark(language) === decimalMark(navigator.language) ? language : "";

/** Minor units of what was typed; null: nothing was. Otherwise the words for what is wrong with it. */
export function typedPrice(
  typed: string,
  currency: string,
): { readonly minor: number | null; readonly problem: string } {
  const found = readPrice(typed, currency, typedIn);
  if (typeof found === "number") return { minor: found, problem: "" };
  if (found === "empty") return { minor: null, problem: "" };
  const such = plainPrice(123_456, currency);
  return { minor: null, problem: t(`price.${found}`, { currency, such }) };
}

interface Priced {
  readonly price: number;
  readonly currency: string;
  readonly unpriced: boolean;
}

/** False where nobody has said yet what it costs. An older release sets a price and nothing else. */
export const hasPrice = ({ price, unpriced }: Priced): boolean => !unpriced || price !== 0;

/** A product's price as it is read. */
export const priceOf = (one: Priced): string =>
  hasPrice(one) ? formatPrice(one.price, one.currency, language) : t("price.none");
