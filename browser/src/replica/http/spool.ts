/**
 * A whole, verified answer: received to its last line before any of it is believed.
 *
 * Knows: lines. Must not know: sockets, or the replica's database.
 * Upholds I10 (without its checkpoint line an answer is nothing) and I31 (an answer is bounded: here
 * it is kept in memory, as bytes, until it is applied line by line).
 */

import { Offline } from "../../core/errors.js";
import { ANSWER_BYTES_MAX, RESPONSE_LINE_BYTES_MAX } from "../../core/limits.js";
import {
  type Checkpoint,
  type Files,
  type Gone,
  type Head,
  type Line,
  type Own,
  type RangeAnswer,
  type Rows,
  VERSION as PROTOCOL,
} from "../../protocol/messages.generated.js";
import { faultOf } from "../../protocol/validate.js";
import { incomplete, notOurs } from "../failures.js";

const NEWLINE = 10;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export interface Received {
  readonly echo: string;
  /** The device's clock when the request left and the answer began. */
  readonly sentUs: number;
  readonly receivedUs: number;
}

export class SpooledAnswer {
  readonly head: Head;
  readonly checkpoint: Checkpoint;
  readonly sentUs: number;
  readonly receivedUs: number;
  readonly #middle: readonly Uint8Array[];

  constructor(lines: readonly Uint8Array[], by: Received) {
    const [first, last] = [lines[0], lines.at(-1)];
    if (first === undefined || last === undefined || lines.length < 2)
      throw incomplete("its last line is missing");
    const head = decodeLine(first);
    if (head.type !== "head" || head.protocol !== PROTOCOL)
      throw notOurs("its first line is not a head");
    if (head.echo !== by.echo) throw notOurs("it has the echo of another request");
    const checkpoint = decodeLine(last);
    if (checkpoint.type !== "checkpoint") throw incomplete("its last line is missing");
    if (checkpoint.lines !== lines.length - 1)
      throw incomplete(`${lines.length - 1} of ${checkpoint.lines} lines`);
    this.head = head;
    this.checkpoint = checkpoint;
    this.sentUs = by.sentUs;
    this.receivedUs = by.receivedUs;
    this.#middle = lines.slice(1, -1);
  }

  /** The lines between the first and the last, read one at a time. */
  *lines(): Iterable<Rows | Own | Gone | RangeAnswer> {
    for (const raw of this.#middle) {
      const line = decodeLine(raw);
      if (line.type === "head" || line.type === "checkpoint" || line.type === "files")
        throw incomplete(`an unexpected line: ${line.type}`);
      yield line;
    }
  }

  /** The line that stands in place of rows; then the answer settles nothing. Throws `Offline`
   * (`broken_answer`) when there is more beside it. */
  files(): Files | null {
    const [raw] = this.#middle;
    if (raw === undefined || !begins(raw, '{"type":"files"')) return null;
    const line = decodeLine(raw);
    if (line.type !== "files") return null;
    if (this.#middle.length !== 1 || Object.keys(this.checkpoint.scopes).length > 0)
      throw incomplete("files and rows in one answer");
    return line;
  }
}

/** Return whether a line begins so: lines of rows are long, and are not to be read twice. */
function begins(raw: Uint8Array, text: string): boolean {
  return [...raw.subarray(0, text.length)].every((byte, at) => byte === text.charCodeAt(at));
}

/** Take in a body to its end. Throws `Offline`: `broken_answer` or `not_our_server`. */
export async function receive(
  pieces: AsyncIterable<Uint8Array>,
  by: Received,
): Promise<SpooledAnswer> {
  const lines: Uint8Array[] = [];
  let parts: Uint8Array[] = [];
  let [size, pending] = [0, 0];
  for await (const piece of pieces) {
    size += piece.length;
    if (size > ANSWER_BYTES_MAX) throw incomplete("it is larger than is allowed");
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      lines.push(joined([...parts, piece.subarray(start, end)]));
      [parts, pending, start] = [[], 0, end + 1];
    }
    const rest = piece.subarray(start);
    pending += rest.length;
    if (pending > RESPONSE_LINE_BYTES_MAX) throw incomplete("it is larger than is allowed");
    if (rest.length > 0) parts.push(rest);
  }
  if (parts.length > 0) throw incomplete("its last line is missing");
  return new SpooledAnswer(lines, by);
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A line of an answer. Throws `Offline` (`broken_answer`) for what is none. */
export function decodeLine(raw: Uint8Array): Line {
  let line: unknown;
  try {
    line = JSON.parse(utf8.decode(raw));
  } catch {
    throw unreadable("it is not JSON");
  }
  const { type } = (line ?? {}) as { type?: unknown };
  // By its type, so that a fault is told of what it is, and rows are looked at once.
  const name = typeof type === "string" && Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  const fault = name === undefined ? "it has no type we know" : faultOf(name, line);
  if (fault !== null) throw unreadable(fault);
  return line as Line;
}

const KINDS: Readonly<Record<string, string>> = {
  head: "Head",
  rows: "Rows",
  own: "Own",
  gone: "Gone",
  range: "RangeAnswer",
  files: "Files",
  checkpoint: "Checkpoint",
};

function unreadable(why: string): Offline {
  return incomplete(`not a line of an answer: ${why}`);
}
