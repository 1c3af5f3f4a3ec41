/** Storage values in JSON, as golden vectors have them. */

import { fromHex, toHex, type Value } from "../../src/core/values.js";

/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-argument */
/** A storage value in JSON, with its storage class. */
export function tagged(value: Value): unknown {
  if (value === null) return null;
  if (typeof value === "string") return { text: value };
  if (typeof value === "bigint") return { integer: value.toString() };
  return value instanceof Uint8Array ? { bytes: toHex(value) } : { real: value };
}

export function untagged(tag: any): Value {
  if (tag === null) return null;
  if ("integer" in tag) return BigInt(tag.integer);
  if ("bytes" in tag) return fromHex(tag.bytes);
  if ("text" in tag) return tag.text as string;
  const infinite: Record<string, number> = { inf: Infinity, "-inf": -Infinity, nan: NaN };
  return typeof tag.real === "string" ? (infinite[tag.real] ?? NaN) : (tag.real as number);
}
