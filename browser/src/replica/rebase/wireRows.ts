/**
 * Rows and keys as they travel, as server truth.
 *
 * Knows: the wire's values and a table's columns. Must not know: the database. What makes no sense is an
 * answer that is not usable, whoever sent it.
 */

import { BadValue, Offline } from "../../core/errors.js";
import { keyValues, rowKey } from "../../core/keys.js";
import type { Table } from "../../core/schema.js";
import { fromWire } from "../../core/values.js";
import type { Truth } from "../storage/members.js";

export function broken(what: string): Offline {
  return new Offline(`the response is invalid: ${what}`, "broken_answer");
}

/** A row as it travels: its key, revision and storage values. Throws `Offline`. */
export function decodeRow(table: Table, wire: readonly unknown[]): Truth {
  const [rev, ...values] = wire;
  if (values.length !== table.columns.length || !Number.isSafeInteger(rev))
    throw broken(`a row of ${table.name} does not have its columns`);
  try {
    const row = table.columns.map((column, at) => fromWire(column.type, values[at], column.scale));
    return { key: rowKey(table, row), rev: rev as number, row };
  } catch (error) {
    if (error instanceof BadValue) throw broken(`a row of ${table.name}: ${error.message}`);
    throw error;
  }
}

/** Throws `Offline` for a key that nobody could read. */
export function checkKey(table: Table, key: string): void {
  try {
    keyValues(table, key);
  } catch (error) {
    if (error instanceof BadValue) throw broken(`a key of ${table.name} is not readable`);
    throw error;
  }
}
