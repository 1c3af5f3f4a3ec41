/**
 * Identity of a transaction: number, id, and the hash of its body as it was first sent.
 *
 * Knows: the message. Must not know: who sends or keeps it. A device that has migrated its file since
 * then sends it in other words, and names the hash of the first ones. In Python `protocol/first_sent.py`:
 * the server hashes what it has read, as compact JSON with the names of values in order.
 *
 * Upholds I8.
 */

import { textHash } from "../core/digest.js";
import { byCodePoint } from "../core/keys.js";
import type { Change, Transaction } from "./messages.generated.js";

/** The hash of a transaction's body as it was first sent. */
export function firstHash(transaction: Transaction): string {
  if (transaction.first) return transaction.first;
  const { number, id, changes, after = [], replaces = 0, void: reason = "" } = transaction;
  return textHash(
    `[${[number, id].map(compact).join(",")},[${changes.map(ofChange).join(",")}],` +
      `${[after, replaces, reason].map(compact).join(",")}]`,
  );
}

/** A change with its fields in declared order; those that have their defaults are left out. */
function ofChange({ table, key, op, base, bases, new: fresh, old }: Change): string {
  const fields: [string, unknown][] = [
    ["table", table],
    ["key", key],
    ["op", op],
  ];
  if (base) fields.push(["base", base]);
  for (const [name, values] of [
    ["bases", bases],
    ["new", fresh],
    ["old", old],
  ] as const)
    if (Object.keys(values ?? {}).length > 0) fields.push([name, values]);
  return `{${fields.map(([name, value]) => `${compact(name)}:${compact(value)}`).join(",")}}`;
}

/** JSON without spaces, names in order, numbers as the server writes what it reads. */
function compact(value: unknown): string {
  if (typeof value === "number") return numberText(JSON.stringify(value));
  if (Array.isArray(value)) return `[${value.map(compact).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => byCodePoint(a, b));
  return `{${entries.map(([name, inner]) => `${compact(name)}:${compact(inner)}`).join(",")}}`;
}

/** A number of JSON as the server writes it: with an exponent below 0.00001, and no plus sign in it. */
export function numberText(text: string): string {
  const isSmall = /^-?0\.00000/.test(text);
  return (isSmall ? Number(text).toExponential() : text).replace("e+", "e");
}
