/**
 * The sides of a conflict as its card asks about them.
 *
 * Knows: that price, cost and currency of a product are one decision, so that an amount is never shown or
 * taken without its own currency. Must not know: how a conflict is settled.
 */

import type { Conflict, Resolution, Side } from "@holdfast/browser";

import { t } from "../i18n/index.js";
import "../i18n/later.js";
import { typedPrice } from "./priced.js";
import { fromTyped, MONEY, shown, typedOver } from "./wire.js";

type Amounts = Readonly<Record<string, string | null>>;
type Sides = Pick<Conflict, "column" | "kind" | "deviceValue" | "serverValue">;

const isGroup = ({ column, kind }: Sides): boolean => kind === "edit" && column.includes(",");

const differing = ({ deviceValue, serverValue }: Sides): string[] => {
  const [one, other] = [deviceValue as Amounts, serverValue as Amounts];
  const names = [...MONEY].filter((name) => (one[name] ?? other[name] ?? null) !== null);
  if (one["currency"] !== other["currency"]) return names;
  return names.filter((name) => one[name] !== other[name]);
};

/** Return what is asked about: a column; of a product's amounts the one that differs, or `money`: several. */
export function subjectOf(conflict: Sides): string {
  if (!isGroup(conflict)) return conflict.column;
  const [first = "price", ...more] = differing(conflict);
  return more.length > 0 ? "money" : first;
}

/** One of the values, as a person reads it. */
export function shownOf(conflict: Sides, value: unknown): string {
  if (value === null && conflict.kind === "delete") return t("conflict.deleted");
  if (conflict.column === "archived")
    return t(value === true || value === 1 ? "conflict.stopped" : "conflict.offered");
  if (!isGroup(conflict)) return shown(conflict.column, value, "EUR");
  const [amounts, subject] = [value as Amounts, subjectOf(conflict)];
  const of = (name: string): string => shown(name, amounts[name], amounts["currency"] ?? "EUR");
  if (subject !== "money") return of(subject);
  return t("conflict.both", { price: of("price"), cost: of("cost") });
}

/** Return whether another value can be typed: one amount, of a currency that is not in question. */
export function isTypable(conflict: Sides): boolean {
  if (conflict.kind === "delete" || ["archived", "product_id"].includes(conflict.column))
    return false;
  if (!isGroup(conflict)) return true;
  const [one, other] = [conflict.deviceValue as Amounts, conflict.serverValue as Amounts];
  return subjectOf(conflict) !== "money" && one["currency"] === other["currency"];
}

/** A side as it is typed over. */
export function typedOf(conflict: Sides, side: Side): string {
  const value = conflict[`${side}Value`];
  if (!isGroup(conflict)) return typedOver(conflict.column, value, "EUR");
  const amounts = value as Amounts;
  const subject = subjectOf(conflict);
  return typedOver(subject, amounts[subject], amounts["currency"] ?? "EUR");
}

/** Return what was typed, to settle with; undefined for what does not fit. */
export function choiceOf(conflict: Sides, typed: string): Resolution | undefined {
  if (!isGroup(conflict)) {
    const wire = fromTyped(conflict.column, typed, "EUR");
    return wire === undefined ? undefined : { value: wire };
  }
  const amounts = conflict.deviceValue as Amounts;
  const subject = subjectOf(conflict);
  const wire = fromTyped(subject, typed, amounts["currency"] ?? "EUR");
  return wire === undefined ? undefined : { value: { ...amounts, [subject]: wire } };
}

/** Return why what was typed does not fit. */
export function problemOf(conflict: Sides, typed: string): string {
  if (!isGroup(conflict) || subjectOf(conflict) === "money") return t("conflict.bad");
  const amounts = conflict.deviceValue as Amounts;
  return typedPrice(typed, amounts["currency"] ?? "EUR").problem || t("conflict.bad");
}
