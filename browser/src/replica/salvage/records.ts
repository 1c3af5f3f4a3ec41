/**
 * Cells of pages and the records in them, read without SQLite.
 *
 * Knows: how a page of a tree, a cell and a record are laid out (https://sqlite.org/fileformat2.html).
 * Must not know: tables. What does not fit its place exactly is not read: a record has the length that
 * its header says.
 */

import { DAMAGED_VALUE_BYTES_MAX } from "../../core/limits.js";
import type { Value } from "../../core/values.js";
import type { Pages } from "./pages.js";

export const [INDEX_INNER, TABLE_INNER, INDEX_LEAF, TABLE_LEAF] = [2, 5, 10, 13];

/** A record: its rowid (0 in an index), its values, and whether all of them could be read before a page of
 * theirs was missing. */
export interface StoredRecord {
  readonly rowid: bigint;
  readonly values: readonly Value[];
  readonly isWhole: boolean;
}

/** A page or a cell is not what it has to be. */
export class Unreadable extends Error {}

/** Head of a page of a tree: its kind, where its cells are, and its last child. */
export interface PageHead {
  readonly kind: number;
  readonly cells: readonly number[];
  readonly last: number;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A number of one to nine bytes, and where the next thing is. */
function varint(data: Uint8Array, start: number): [bigint, number] {
  let value = 0n;
  for (let place = start; place < start + 8; place += 1) {
    const byte = data[place];
    if (byte === undefined) throw new Unreadable();
    value = (value << 7n) | BigInt(byte & 0x7f);
    if (byte < 0x80) return [value, place + 1];
  }
  const last = data[start + 8];
  if (last === undefined) throw new Unreadable();
  return [(value << 8n) | BigInt(last), start + 9];
}

/** Read the head of a page; throws `Unreadable`. */
export function pageHead(page: Uint8Array, number: number): PageHead {
  const view = viewOf(page);
  const at = number === 1 ? 100 : 0;
  const kind = view.getUint8(at);
  const isInner = kind === INDEX_INNER || kind === TABLE_INNER;
  if (!isInner && kind !== INDEX_LEAF && kind !== TABLE_LEAF) throw new Unreadable();
  const count = view.getUint16(at + 3);
  const first = at + (isInner ? 12 : 8);
  if (first + 2 * count > page.length) throw new Unreadable();
  const cells = Array.from({ length: count }, (_, place) => view.getUint16(first + 2 * place));
  if (cells.some((cell) => cell < first + 2 * count || cell >= page.length)) throw new Unreadable();
  return { kind, cells, last: isInner ? view.getUint32(at + 8) : 0 };
}

/** The pages below an inner one, in order. */
export function children(page: Uint8Array, head: PageHead): number[] {
  const view = viewOf(page);
  return [
    ...head.cells.map((cell) => (cell + 4 <= page.length ? view.getUint32(cell) : 0)),
    head.last,
  ];
}

/** The record of a cell; throws `Unreadable`. */
export function readCell(
  pages: Pages,
  page: Uint8Array,
  head: PageHead,
  cell: number,
): StoredRecord {
  let at = head.kind === INDEX_INNER ? cell + 4 : cell;
  const [said, next] = varint(page, at);
  at = next;
  let rowid = 0n;
  if (head.kind === TABLE_LEAF) {
    [rowid, at] = varint(page, at);
    rowid = BigInt.asIntN(64, rowid);
  }
  if (said > BigInt(DAMAGED_VALUE_BYTES_MAX)) throw new Unreadable();
  const length = Number(said);
  const local = localBytes(pages.usable, length, head.kind === TABLE_LEAF);
  let payload = page.subarray(at, at + local);
  if (payload.length < local) throw new Unreadable();
  if (local < length) {
    const pointer = page.subarray(at + local, at + local + 4);
    if (pointer.length < 4) throw new Unreadable();
    payload = joined(payload, overflow(pages, viewOf(pointer).getUint32(0), length - local));
  }
  return { rowid, ...record(payload, length) };
}

/** Return how much of a record lies on its own page. */
function localBytes(usable: number, length: number, isTable: boolean): number {
  const most = isTable ? usable - 35 : Math.floor(((usable - 12) * 64) / 255) - 23;
  if (length <= most) return length;
  const least = Math.floor(((usable - 12) * 32) / 255) - 23;
  const part = least + ((length - least) % (usable - 4));
  return part <= most ? part : least;
}

/** The rest of a record, as far as its chain of pages can be followed. */
function overflow(pages: Pages, first: number, length: number): Uint8Array {
  const parts: Uint8Array[] = [];
  const seen = new Set<number>();
  let [number, left] = [first, length];
  while (left > 0) {
    const page: Uint8Array | null = seen.has(number) ? null : pages.get(number);
    if (page === null) break;
    seen.add(number);
    const part = page.subarray(4, 4 + Math.min(left, pages.usable - 4));
    parts.push(part);
    left -= part.length;
    number = viewOf(page).getUint32(0);
  }
  if (left <= 0 && number !== 0) throw new Unreadable(); // a chain that goes on is another record's
  return joined(...parts);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The values of a record, and whether all of them could be read. */
function record(payload: Uint8Array, length: number): Pick<StoredRecord, "values" | "isWhole"> {
  const [said, begin] = varint(payload, 0);
  const size = Number(said);
  if (size < begin || size > payload.length) throw new Unreadable();
  const kinds: number[] = [];
  let at = begin;
  while (at < size) {
    const [kind, next] = varint(payload, at);
    if (kind === 10n || kind === 11n) throw new Unreadable();
    kinds.push(Number(kind));
    at = next;
  }
  if (at !== size || size + kinds.reduce((sum, kind) => sum + width(kind), 0) !== length)
    throw new Unreadable();
  const values: Value[] = [];
  for (const kind of kinds) {
    const bytes = width(kind);
    if (at + bytes > payload.length) return { values, isWhole: false };
    values.push(value(kind, payload.subarray(at, at + bytes)));
    at += bytes;
  }
  return { values, isWhole: true };
}

const WIDTHS = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0];

function width(kind: number): number {
  return kind >= 12 ? Math.floor((kind - 12) / 2) : (WIDTHS[kind] ?? 0);
}

function value(kind: number, raw: Uint8Array): Value {
  if (kind === 0) return null;
  if (kind <= 6) {
    let found = 0n;
    for (const byte of raw) found = (found << 8n) | BigInt(byte);
    return BigInt.asIntN(8 * raw.length, found);
  }
  if (kind === 7) return viewOf(raw).getFloat64(0);
  if (kind <= 9) return BigInt(kind - 8);
  if (kind % 2 === 0) return raw.slice();
  try {
    return utf8.decode(raw);
  } catch {
    throw new Unreadable();
  }
}
