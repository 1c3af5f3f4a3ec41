/**
 * Identifiers: UUIDv7 for rows, 128-bit random ids for transactions.
 *
 * Knows how an identifier is put together from a moment and random bytes. Must not know a clock or
 * a source of randomness: both are handed in. Upholds I4 and I7 as far as they rest on ids: two
 * transactions never have one id, and one transaction never gets two, wherever a copy is sealed.
 */

import { blake2s } from "@noble/hashes/blake2.js";

import { toHex } from "./values.js";

/** Returns exactly the asked number of random bytes. */
export type RandomBytes = (count: number) => Uint8Array;

const UUID7_US_MAX = (1n << 48n) * 1000n - 1n;

/** A UUIDv7 (RFC 9562); `nowUs` in microseconds since 1970. The 12 bits after the millisecond hold
 * its fraction, so ids of different microseconds sort by time. */
export function uuid7(nowUs: number | bigint, randomBytes: RandomBytes): string {
  const asked = BigInt(nowUs);
  const moment = asked < 0n ? 0n : asked > UUID7_US_MAX ? UUID7_US_MAX : asked;
  const fraction = ((moment % 1000n) << 12n) / 1000n;
  const noise = BigInt(`0x${toHex(exactly(8, randomBytes))}`) & ((1n << 62n) - 1n);
  const value = ((moment / 1000n) << 80n) | (7n << 76n) | (fraction << 64n) | (2n << 62n) | noise;
  const hex = value.toString(16).padStart(32, "0");
  return [
    [0, 8],
    [8, 12],
    [12, 16],
    [16, 20],
    [20, 32],
  ]
    .map(([from, to]) => hex.slice(from, to))
    .join("-");
}

/** A new transaction id: 32 lower-case hexadecimal characters, all 128 bits random. */
export function transactionId(randomBytes: RandomBytes): string {
  return toHex(exactly(16, randomBytes));
}

/** A transaction's id that follows from what it is: 32 lower-case hexadecimal characters. It is the
 * hash (BLAKE2s) of its parts as text, each behind its length in characters (code points). */
export function derivedId(...parts: readonly (string | bigint)[]): string {
  const text = parts.map(String).map((part) => `${Array.from(part).length}:${part}`);
  return toHex(blake2s(new TextEncoder().encode(text.join("")), { dkLen: 16 }));
}

function exactly(count: number, randomBytes: RandomBytes): Uint8Array {
  // A source that runs short would make ids that meet; fail where it happens.
  const drawn = randomBytes(count);
  if (drawn.length !== count)
    throw new RangeError(`asked for ${count} random bytes, got ${drawn.length}`);
  return drawn;
}
