/**
 * Row keys: their canonical text, and the scopes a row belongs to.
 *
 * Knows: schema and values. Must not know: SQL or messages.
 * One column: the value as it is (numbers in decimal, bytes in lower-case hex). Several: each with
 * `%` and `/` escaped, joined by `/`.
 */

import { BadValue } from "./errors.js";
import { KEY_BYTES_MAX, SCOPE_NAME_LENGTH_MAX, SCOPES_MAX } from "./limits.js";
import type { Column, Table } from "./schema.js";
import { fromHex, toHex, utf8Length, type Value } from "./values.js";

export type Row = readonly Value[];

const INTEGER_TEXT = /^\s*[+-]?[0-9]+\s*$/;

function part(value: Value | undefined): string {
  return value instanceof Uint8Array ? toHex(value) : String(value);
}

/** The canonical text of a key given as storage values in key order. Throws `BadValue`. */
export function keyText(table: Table, key: Row): string {
  if (key.length !== table.key.length)
    throw new BadValue(`the key of ${table.name} has ${table.key.length} columns`, "bad_key");
  const written =
    key.length === 1
      ? part(key[0])
      : key.map((value) => part(value).replaceAll("%", "%25").replaceAll("/", "%2F")).join("/");
  if (written.length * 3 > KEY_BYTES_MAX && utf8Length(written) > KEY_BYTES_MAX)
    throw new BadValue(`a key has at most ${KEY_BYTES_MAX} bytes`, "bad_key");
  return written;
}

function valueOf(column: Column, written: string): Value {
  if (column.type === "integer" || column.type === "timestamp") {
    if (!INTEGER_TEXT.test(written)) throw new BadValue("a key's integer is not one", "bad_key");
    return BigInt(written.trim());
  }
  return column.type === "bytes" ? fromHex(written) : written;
}

/** The storage values of a key's text; the inverse of `keyText`. Throws `BadValue`. */
export function keyValues(table: Table, written: string): Value[] {
  const [first] = table.keyColumns;
  if (table.keyColumns.length === 1 && first) return [valueOf(first, written)];
  const parts = written.split("/");
  if (parts.length !== table.keyColumns.length)
    throw new BadValue(`the key of ${table.name} has ${table.key.length} columns`, "bad_key");
  return table.keyColumns.map((column, at) =>
    valueOf(column, (parts[at] ?? "").replaceAll("%2F", "/").replaceAll("%25", "%")),
  );
}

/** The key text of a whole row in column order. */
export function rowKey(table: Table, row: Row): string {
  return keyText(
    table,
    table.keyPositions.map((position) => row[position] ?? null),
  );
}

/** The scopes a row belongs to, sorted by code point and without repeats. Throws `BadValue`. */
export function rowScopes(table: Table, row: Row): string[] {
  const names = new Set<string>();
  for (const template of table.scopes) {
    if (template.startsWith("*")) {
      const column = template.slice(2, -1);
      for (const name of array(row[table.positions.get(column) ?? -1] ?? null)) names.add(name);
    } else {
      names.add(
        template.replace(/\{([a-z0-9_]+)\}/g, (_, column: string) => {
          const value = row[table.positions.get(column) ?? -1] ?? null;
          if (value === null || value === "" || (value instanceof Uint8Array && !value.length))
            throw new BadValue(`${table.name}.${column} names a scope and must not be empty`);
          return part(value);
        }),
      );
    }
  }
  for (const name of names)
    if (name.length > SCOPE_NAME_LENGTH_MAX && Array.from(name).length > SCOPE_NAME_LENGTH_MAX)
      throw new BadValue(`a scope's name has at most ${SCOPE_NAME_LENGTH_MAX} letters`);
  return [...names].sort(byCodePoint);
}

function array(value: Value): string[] {
  let names: unknown;
  try {
    names = typeof value === "string" ? JSON.parse(value) : null;
  } catch {
    names = null;
  }
  if (!Array.isArray(names) || names.length > SCOPES_MAX)
    throw new BadValue("scopes must be a JSON array of names");
  if (!names.every((name): name is string => typeof name === "string" && name !== ""))
    throw new BadValue("scopes must be a JSON array of names");
  return names;
}

/** The order of Python's strings and of UTF-8 bytes; JavaScript's own is by UTF-16 unit. */
export function byCodePoint(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let at = 0; at < length; at += 1) {
    const a = left.charCodeAt(at);
    const b = right.charCodeAt(at);
    if (a !== b) {
      // Surrogates stand for code points above all others.
      const high = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? 1 : 0);
      return high(a) - high(b) || a - b;
    }
  }
  return left.length - right.length;
}
