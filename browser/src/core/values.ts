/**
 * Column types: storage form, wire form and canonical encoding of every value.
 *
 * Knows: the types a column may have. Must not know: tables, SQL or messages.
 * In storage form an INTEGER is a `bigint` and a REAL is a `number`, so that no value is ambiguous
 * and none loses a digit. Each conversion is exact or throws `BadValue`.
 */

import { BadValue } from "./errors.js";
import {
  DECIMAL_DIGITS_MAX,
  INTEGER_MAX,
  INTEGER_MIN,
  JSON_NESTING_MAX,
  TEXT_BYTES_MAX,
  TIMESTAMP_US_MAX,
  TIMESTAMP_US_MIN,
} from "./limits.js";

/** A value in its storage form. */
export type Value = null | bigint | number | string | Uint8Array;

/** A value in its wire form: what `JSON.parse` makes of it. */
export type Wire = null | boolean | number | string;

export const TYPES = [
  "text",
  "integer",
  "real",
  "boolean",
  "bytes",
  "uuid",
  "timestamp",
  "date",
  "decimal",
  "json",
] as const;
export type ColumnType = (typeof TYPES)[number];

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const DATE = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/;
const DECIMAL = /^(-?)([0-9]+)(?:\.([0-9]+))?$/;
const INTEGER = /^-?(?:0|[1-9][0-9]{0,18})$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const DAYS = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const utf8 = new TextEncoder();

type Check = (value: unknown, scale: number) => Exclude<Value, null>;

/** Return how many bytes a text has in UTF-8. */
export function utf8Length(text: string): number {
  if (text.length * 3 <= 256) return utf8.encode(text).length;
  let size = 0;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) size += 1;
    else if (unit < 0x800) size += 2;
    else if (unit >= 0xd800 && unit <= 0xdbff) {
      size += 4;
      at += 1;
    } else size += 3;
  }
  return size;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new BadValue(`text expected, got ${typeof value}`);
  if (value.includes("\0")) throw new BadValue("text must not contain NUL");
  if (!value.isWellFormed()) throw new BadValue("text has a lone surrogate");
  if (value.length * 3 > TEXT_BYTES_MAX && utf8Length(value) > TEXT_BYTES_MAX)
    throw new BadValue(`text has too many bytes, the limit is ${TEXT_BYTES_MAX}`);
  return value;
}

function integer(value: unknown): bigint {
  const whole = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof whole !== "bigint") throw new BadValue(`integer expected, got ${typeof value}`);
  if (whole < INTEGER_MIN || whole > INTEGER_MAX)
    throw new BadValue("integer does not fit 64 bits");
  return whole;
}

function real(value: unknown): number {
  if (typeof value !== "number" && typeof value !== "bigint")
    throw new BadValue(`real expected, got ${typeof value}`);
  const number = Number(value);
  if (!Number.isFinite(number)) throw new BadValue("real must be finite");
  return number + 0; // -0 becomes 0
}

function boolean(value: unknown): bigint {
  if (value === true || value === 1 || value === 1n) return 1n;
  if (value === false || value === 0 || value === 0n) return 0n;
  throw new BadValue("boolean expected");
}

function bytes(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new BadValue(`bytes expected, got ${typeof value}`);
  if (value.length > TEXT_BYTES_MAX)
    throw new BadValue(`value has ${value.length} bytes, the limit is ${TEXT_BYTES_MAX}`);
  return value;
}

function uuid(value: unknown): string {
  if (typeof value !== "string" || !UUID.test(value))
    throw new BadValue("uuid expected in canonical form (lower case, with hyphens)");
  return value;
}

function timestamp(value: unknown): bigint {
  const number = integer(value);
  if (number < TIMESTAMP_US_MIN || number > TIMESTAMP_US_MAX)
    throw new BadValue("timestamp is outside the years 1 to 9999");
  return number;
}

function date(value: unknown): string {
  const match = typeof value === "string" ? DATE.exec(value) : null;
  if (match === null) throw new BadValue("date expected as YYYY-MM-DD");
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = month === 2 && !leap ? 28 : (DAYS[month] ?? 0);
  if (year < 1 || month < 1 || day < 1 || day > days) throw new BadValue("no such date");
  return match[0];
}

/** Normalised to `scale` digits after the point; more digits than that are refused. */
function decimal(value: unknown, scale: number): string {
  const written = typeof value === "bigint" ? value.toString() : value;
  if (typeof written !== "string") throw new BadValue(`decimal expected, got ${typeof value}`);
  const match = written.length > DECIMAL_DIGITS_MAX + 3 ? null : DECIMAL.exec(written);
  if (match === null) throw new BadValue("decimal expected, such as 12.50");
  const [, minus = "", whole = "", after = ""] = match;
  if (/[1-9]/.test(after.slice(scale)))
    throw new BadValue(`decimal has more than ${scale} digits after the point`);
  const before = whole.replace(/^0+(?=[0-9])/, "");
  const fraction = after.slice(0, scale).padEnd(scale, "0");
  if ((before + fraction).replace(/^0+/, "").length > DECIMAL_DIGITS_MAX)
    throw new BadValue("decimal has too many digits");
  const plain = scale === 0 ? before : `${before}.${fraction}`;
  return minus && /[1-9]/.test(plain) ? `-${plain}` : plain;
}

function json(value: unknown): string {
  const written = text(value);
  if (depth(written) > JSON_NESTING_MAX)
    throw new BadValue(`JSON is nested more than ${JSON_NESTING_MAX} levels deep`);
  try {
    JSON.parse(written);
  } catch {
    throw new BadValue("valid JSON expected");
  }
  return written;
}

/** Return how deep arrays and objects stand within each other, in what may be JSON. */
function depth(written: string): number {
  if (written.length <= JSON_NESTING_MAX) return 0;
  let [now, deepest] = [0, 0];
  for (const [sign] of written.replace(/"(?:[^"\\]|\\.)*"/gs, "").matchAll(/[[\]{}]/g)) {
    now += sign === "[" || sign === "{" ? 1 : -1;
    deepest = Math.max(deepest, now);
  }
  return deepest;
}

const CHECK: Readonly<Record<ColumnType, Check>> = {
  text,
  integer,
  real,
  boolean,
  bytes,
  uuid,
  timestamp,
  date,
  decimal,
  json,
};

/** The storage form of `value` for a column of this type; `null` stays `null`. */
export function check(type: ColumnType, value: unknown, scale = 0): Value {
  return value === null || value === undefined ? null : CHECK[type](value, scale);
}

/** The JSON form of a storage value: 64-bit integers and decimals travel as strings. */
export function toWire(type: ColumnType, value: Value): Wire {
  if (value === null) return null;
  if (type === "boolean") return value !== 0n;
  if (value instanceof Uint8Array) return toBase64(value);
  return typeof value === "bigint" ? value.toString() : value;
}

function integerOf(wire: unknown): bigint {
  if (typeof wire !== "string" || !INTEGER.test(wire) || wire === "-0")
    throw new BadValue("integer expected, written as a string of digits");
  return integer(BigInt(wire));
}

function bytesOf(wire: unknown): Uint8Array {
  if (typeof wire !== "string" || !BASE64.test(wire))
    throw new BadValue("bytes expected in base64");
  const raw = fromBase64(wire);
  if (toBase64(raw) !== wire) throw new BadValue("bytes are not in canonical base64");
  return bytes(raw);
}

function decimalOf(wire: unknown, scale: number): string {
  if (typeof wire !== "string") throw new BadValue("decimal expected, written as a string");
  if (decimal(wire, scale) !== wire) throw new BadValue("decimal is not normalised");
  return wire;
}

function booleanOf(wire: unknown): bigint {
  if (typeof wire !== "boolean") throw new BadValue("boolean expected");
  return wire ? 1n : 0n;
}

const OF_WIRE: Readonly<Record<ColumnType, Check>> = {
  ...CHECK,
  integer: integerOf,
  timestamp: (wire) => timestamp(integerOf(wire)),
  boolean: booleanOf,
  bytes: bytesOf,
  decimal: decimalOf,
};

/** The storage form of a JSON value. Throws `BadValue`. */
export function fromWire(type: ColumnType, wire: unknown, scale = 0): Value {
  return wire === null ? null : OF_WIRE[type](wire, scale);
}

/** Return whether two storage values are the same value of the same storage class. */
export function same(left: Value, right: Value): boolean {
  if (left instanceof Uint8Array && right instanceof Uint8Array)
    return left.length === right.length && left.every((byte, at) => byte === right[at]);
  return left === right;
}

/**
 * The canonical binary encoding of storage values: each is a tag byte and its content. 0 NULL;
 * 1 integer, 8 bytes big-endian; 2 real, IEEE 754 big-endian; 3 text and 4 bytes, each with a
 * 4-byte big-endian length.
 */
export function encode(values: readonly Value[]): Uint8Array {
  const contents = values.map((value) => (typeof value === "string" ? utf8.encode(value) : value));
  let size = 0;
  for (const content of contents)
    size += content === null ? 1 : content instanceof Uint8Array ? 5 + content.length : 9;
  const result = new Uint8Array(size);
  const view = new DataView(result.buffer);
  let at = 0;
  contents.forEach((content, index) => {
    if (content === null) {
      at += 1;
    } else if (content instanceof Uint8Array) {
      view.setUint8(at, typeof values[index] === "string" ? 3 : 4);
      view.setUint32(at + 1, content.length);
      result.set(content, at + 5);
      at += 5 + content.length;
    } else if (typeof content === "bigint") {
      view.setUint8(at, 1);
      view.setBigInt64(at + 1, content);
      at += 9;
    } else {
      view.setUint8(at, 2);
      view.setFloat64(at + 1, content + 0);
      at += 9;
    }
  });
  return result;
}

const PIECE = 0x8000; // arguments of one call are on the stack

export function toBase64(raw: Uint8Array): string {
  let binary = "";
  for (let start = 0; start < raw.length; start += PIECE)
    binary += String.fromCharCode(...raw.subarray(start, start + PIECE));
  return btoa(binary);
}

export function fromBase64(written: string): Uint8Array {
  const binary = atob(written);
  const raw = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) raw[at] = binary.charCodeAt(at);
  return raw;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export function toHex(raw: Uint8Array): string {
  let written = "";
  for (const byte of raw) written += HEX[byte] ?? "";
  return written;
}

/** The bytes of lower- or upper-case hex. Throws `BadValue`. */
export function fromHex(written: string): Uint8Array {
  if (written.length % 2 !== 0 || /[^0-9a-fA-F]/.test(written)) throw new BadValue("hex expected");
  const raw = new Uint8Array(written.length / 2);
  for (let at = 0; at < raw.length; at += 1)
    raw[at] = Number.parseInt(written.slice(2 * at, 2 * at + 2), 16);
  return raw;
}
