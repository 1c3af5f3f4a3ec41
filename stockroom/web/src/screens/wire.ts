/**
 * Values of the inbox as people read and type them.
 *
 * Knows: how columns of products and movements look on the wire. Must not know: how a conflict is settled.
 */

import { formatPrice, plainPrice } from "../data/money.js";
import { formatSigned, language, t, tOr } from "../i18n/index.js";
import "../i18n/later.js";
import { typedPrice } from "./priced.js";

export const MONEY: ReadonlySet<string> = new Set(["price", "cost"]);

/** What the card says elsewhere, or nobody can read. */
const UNTOLD: ReadonlySet<string> = new Set(["person", "device", "occurred_at", "reverses"]);

/** Columns of a change, with their values, that tell a person something. */
export const told = (made: Readonly<Record<string, unknown>>): [name: string, value: unknown][] =>
  Object.entries(made).filter(
    ([name, value]) =>
      !name.endsWith("id") &&
      !UNTOLD.has(name) &&
      value !== "" &&
      value !== null &&
      !(name === "reason" && value === made["kind"]),
  );

export const labelOf = (column: string): string =>
  tOr("conflict.fields", column, "conflict.fields.other");

export function shown(column: string, value: unknown, currency: string): string {
  if (value === null || value === undefined || value === "") return t("conflict.empty");
  if (column === "kind" || column === "reason")
    return tOr("entry.kinds", String(value), "entry.kinds.correction");
  if (column === "quantity") return formatSigned(Number(value));
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
    const { minor } = typedPrice(text, currency);
    return minor === null ? undefined : String(minor);
  }
  if (column === "currency") return /^[A-Z]{3}$/.test(text) ? text : undefined;
  return text === "" ? undefined : text;
}
