/**
 * Values of the inbox as people read and type them.
 *
 * Knows: how columns of a product look on the wire. Must not know: how a conflict is settled.
 */

import { formatPrice, parsePrice, plainPrice } from "../data/money.js";
import { language, t } from "../i18n/index.js";

export const MONEY: ReadonlySet<string> = new Set(["price", "cost"]);

export function shown(column: string, value: unknown, currency: string): string {
  if (value === null || value === undefined || value === "") return t("conflict.empty");
  if (typeof value === "object") return t("conflict.row");
  if (MONEY.has(column)) return formatPrice(Number(value), currency, language);
  if (typeof value === "boolean") return t(value ? "conflict.yes" : "conflict.no");
  return String(value);
}

/** As it is typed over. */
export function typedOver(column: string, value: unknown, currency: string): string {
  if (value === null || value === undefined) return "";
  return MONEY.has(column) ? plainPrice(Number(value), currency) : String(value);
}

/** In wire form; undefined for what does not fit. */
export function fromTyped(
  column: string,
  typed: string,
  currency: string,
): string | null | undefined {
  const text = typed.trim();
  if (MONEY.has(column)) {
    if (text === "" && column === "cost") return null;
    const minor = parsePrice(text, currency);
    return minor === null ? undefined : String(minor);
  }
  if (column === "currency") return /^[A-Z]{3}$/.test(text) ? text : undefined;
  return text === "" ? undefined : text;
}
