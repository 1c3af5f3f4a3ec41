/**
 * Values as an app's JavaScript has them, and storage values.
 *
 * Knows: which way an app may write a value. Must not know: columns. Numbers that are whole are
 * integers (a REAL column takes them as such); integers beyond 2^53 come back as `bigint`, exactly.
 */

import { BadValue } from "../core/errors.js";
import type { Row } from "../core/keys.js";
import type { Value } from "../core/values.js";

export type AppValue = null | boolean | number | bigint | string | Uint8Array;
export type AppRow = readonly AppValue[];

export interface QueryResult {
  readonly columns: readonly string[];
  readonly rows: readonly AppRow[];
}

/** Throws `BadValue` for what SQLite has no value for. */
export function toStorage(value: unknown): Value {
  if (value === null || value === undefined) return null;
  switch (typeof value) {
    case "boolean":
      return value ? 1n : 0n;
    case "number":
      if (!Number.isFinite(value)) throw new BadValue("a number must be finite");
      return Number.isSafeInteger(value) ? BigInt(value) : value;
    case "bigint":
      return value;
    case "string":
      if (!value.isWellFormed()) throw new BadValue("text has a lone surrogate");
      return value;
    default:
      if (value instanceof Uint8Array) return value;
      throw new BadValue(`SQLite has no value for a ${typeof value}`);
  }
}

export function toApp(value: Value): AppValue {
  if (typeof value !== "bigint") return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

export function appRows(rows: readonly Row[]): AppRow[] {
  return rows.map((row) => row.map(toApp));
}

/** Return whether two results are the same, values and all. */
export function sameResult(left: QueryResult, right: QueryResult): boolean {
  return (
    left.rows.length === right.rows.length &&
    left.rows.every((row, at) => {
      const other = right.rows[at] ?? [];
      return row.every((value, column) => sameValue(value, other[column] ?? null));
    })
  );
}

function sameValue(left: AppValue, right: AppValue): boolean {
  if (left instanceof Uint8Array && right instanceof Uint8Array)
    return left.length === right.length && left.every((byte, at) => byte === right[at]);
  return left === right;
}

/** A result as JSON text and back, for results that outlive the worker that made them. */
export function resultToJson(results: readonly QueryResult[]): string {
  return JSON.stringify(results, (_, value: unknown) => {
    if (typeof value === "bigint") return { integer: value.toString() };
    return value instanceof Uint8Array ? { bytes: [...value] } : value;
  });
}

export function resultFromJson(text: string): QueryResult[] {
  return JSON.parse(text, (_, value: unknown) => {
    if (value === null || typeof value !== "object") return value;
    if ("integer" in value) return BigInt(String(value.integer));
    if ("bytes" in value) return Uint8Array.from(value.bytes as number[]);
    return value;
  }) as QueryResult[];
}
