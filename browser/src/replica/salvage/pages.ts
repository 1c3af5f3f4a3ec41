/**
 * Pages of a database file, read without SQLite: of the file, or newer ones of its log.
 *
 * Knows: where pages lie in a file and in a write-ahead log (https://sqlite.org/fileformat2.html). Must
 * not know: what is on them. A page of which the log's copy is damaged is `doubtful`.
 */

import type { Image } from "../../sqlite/damaged.js";

const MAGIC = "SQLite format 3\0";
const SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
const [LOG_HEADER_BYTES, FRAME_BYTES] = [32, 24];
/** First words of a log, and whether its checksums are of little-endian words. */
const LOG_MAGIC: ReadonlyMap<number, boolean> = new Map([
  [0x377f0682, true],
  [0x377f0683, false],
]);
/** First bytes of pages of trees: inner and leaf, of indexes and tables. */
const TREE_PAGES: ReadonlySet<number> = new Set([2, 5, 10, 13]);
const SAMPLE_PAGES = 256;
const LIKELY = 0.7;

type Sums = readonly [number, number];

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The pages of a database as the last commit left them, as far as they can be read. */
export class Pages {
  readonly size: number;
  readonly usable: number;
  /** Pages of which a newer copy is damaged. */
  readonly doubtful = new Set<number>();
  count: number;
  readonly #image: Image;
  readonly #newer = new Map<number, number>();

  constructor(image: Image) {
    this.#image = image;
    const { file } = image;
    const header = new LogHeader(image.log);
    const hasHeader = startsWithMagic(file);
    this.size = (hasHeader ? sizeOf(file) : 0) || header.pageBytes || guessed(file);
    const reserved = hasHeader ? (file[20] ?? 0) : 0;
    this.usable = this.size - (reserved <= this.size - 480 ? reserved : 0);
    this.count = Math.ceil(file.length / this.size);
    this.#readLog(header);
  }

  /** A page, counted from 1; null: it cannot be read whole. */
  get(number: number): Uint8Array | null {
    if (number < 1 || number > this.count) return null;
    const at = this.#newer.get(number);
    const page =
      at === undefined
        ? this.#image.file.subarray((number - 1) * this.size, number * this.size)
        : this.#image.log.subarray(at, at + this.size);
    return page.length === this.size ? page : null;
  }

  /** Take the frames up to the last commit. Each is proven by its own checksum and the one before it, so
   * that a damaged one does not take the rest with it. */
  #readLog(header: LogHeader): void {
    const { log } = this.#image;
    let waiting = new Map<number, number>();
    let { salts } = header;
    let before: Sums | null = header.sums;
    const step = FRAME_BYTES + this.size;
    const view = viewOf(log);
    for (let at = LOG_HEADER_BYTES; at + step <= log.length; at += step) {
      const [number, pages] = [view.getUint32(at), view.getUint32(at + 4)];
      const found: Sums = [view.getUint32(at + 8), view.getUint32(at + 12)];
      salts ??= found;
      if (found[0] !== salts[0] || found[1] !== salts[1]) {
        const next = at + step;
        // Only its head is damaged if the next one is of this run.
        const goesOn =
          next + FRAME_BYTES <= log.length &&
          view.getUint32(next + 8) === salts[0] &&
          view.getUint32(next + 12) === salts[1];
        if (!goesOn) break;
        continue;
      }
      const sums: Sums = [view.getUint32(at + 16), view.getUint32(at + 20)];
      let own = before;
      if (own !== null) own = header.sumUp(own, log.subarray(at, at + 8));
      if (own !== null) own = header.sumUp(own, log.subarray(at + FRAME_BYTES, at + step));
      const isWhole = own !== null && own[0] === sums[0] && own[1] === sums[1];
      before = sums;
      if (!isWhole) {
        if (number > 0 && number <= this.count + waiting.size + 1) this.doubtful.add(number);
        continue;
      }
      waiting.set(number, at + FRAME_BYTES);
      this.doubtful.delete(number);
      if (pages > 0) {
        for (const [page, place] of waiting) this.#newer.set(page, place);
        this.count = Math.max(pages, ...waiting.keys());
        waiting = new Map();
      }
    }
  }
}

/** Header of a log. Without a sound one the first frame is not proven. */
class LogHeader {
  readonly pageBytes: number = 0;
  readonly salts: Sums | null = null;
  readonly sums: Sums | null = null;
  readonly #littleEndian: boolean;

  constructor(log: Uint8Array) {
    this.#littleEndian = true;
    if (log.length <= LOG_HEADER_BYTES) return;
    const view = viewOf(log);
    const order = LOG_MAGIC.get(view.getUint32(0));
    if (order === undefined) return;
    this.#littleEndian = order;
    const sums: Sums = [view.getUint32(24), view.getUint32(28)];
    const own = this.sumUp([0, 0], log.subarray(0, 24));
    if (own[0] !== sums[0] || own[1] !== sums[1]) return;
    this.pageBytes = view.getUint32(8);
    this.salts = [view.getUint32(16), view.getUint32(20)];
    this.sums = sums;
  }

  /** The log's checksum of bytes, after that of others. */
  sumUp(before: Sums, data: Uint8Array): Sums {
    let [first, second] = before;
    const view = viewOf(data);
    for (let at = 0; at + 8 <= data.length; at += 8) {
      first = (first + view.getUint32(at, this.#littleEndian) + second) >>> 0;
      second = (second + view.getUint32(at + 4, this.#littleEndian) + first) >>> 0;
    }
    return [first, second];
  }
}

function startsWithMagic(file: Uint8Array): boolean {
  return (
    file.length >= 100 && Array.from(MAGIC).every((letter, at) => file[at] === letter.charCodeAt(0))
  );
}

/** The size of a page, as the file's header says; 0: it says nothing. */
function sizeOf(file: Uint8Array): number {
  const said = viewOf(file).getUint16(16);
  const size = said === 1 ? 65536 : said;
  return SIZES.includes(size) ? size : 0;
}

/** The size with which most places where pages would begin look like pages of trees. Where a larger page
 * would begin, a smaller one begins, too. */
function guessed(file: Uint8Array): number {
  const scores = SIZES.map((size) => {
    const count = Math.min(Math.floor(file.length / size), SAMPLE_PAGES);
    let found = 0;
    for (let number = 1; number < count; number += 1)
      found += Number(looksLikeTree(file.subarray(number * size, number * size + 8), size));
    return found / Math.max(count - 1, 1);
  });
  const best = Math.max(...scores);
  return SIZES[scores.findIndex((score) => score >= best * LIKELY)] ?? 4096;
}

function looksLikeTree(head: Uint8Array, size: number): boolean {
  if (head.length < 8 || !TREE_PAGES.has(head[0] ?? 0)) return false;
  const view = viewOf(head);
  const end = view.getUint16(5) || 65536;
  return view.getUint16(3) * 2 + 8 <= end && end <= size;
}
