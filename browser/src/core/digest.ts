/**
 * Row hashes and scope digests: how two sides prove that they hold the same rows.
 *
 * Knows: hashing. Must not know: where rows are stored.
 * A row's hash is keyed BLAKE2s (RFC 7693), 128 bits, over table, key and values; a scope's digest
 * is the sum of its rows' hashes modulo 2^128 with their count, so it can be kept in O(changes).
 */

import { blake2s } from "@noble/hashes/blake2.js";

import { BadValue } from "./errors.js";
import type { Row } from "./keys.js";
import { encode, toHex } from "./values.js";

export const HASH_BYTES = 16;
const MASK = (1n << 128n) - 1n;

/** 16 bytes over a row; `row` has all columns in declared order, storage values. */
export function rowHash(scopeKey: Uint8Array, table: string, key: string, row: Row): Uint8Array {
  return blake2s(encode([table, key, ...row]), { dkLen: HASH_BYTES, key: scopeKey });
}

/** `rowHash` of many rows of one table. */
export class RowHasher {
  readonly #begun;

  constructor(scopeKey: Uint8Array, table: string) {
    this.#begun = blake2s.create({ dkLen: HASH_BYTES, key: scopeKey }).update(encode([table]));
  }

  /** `row`: its key text, and all columns in declared order. */
  hash(row: Row): Uint8Array {
    return this.#begun.clone().update(encode(row)).digest();
  }
}

/** Hex of an unkeyed BLAKE2s of a text, 128 bits. */
export function textHash(text: string): string {
  return toHex(blake2s(new TextEncoder().encode(text), { dkLen: HASH_BYTES }));
}

function numberOf(hash: Uint8Array): bigint {
  return hash.length === 0 ? 0n : BigInt(`0x${toHex(hash)}`);
}

const HASH_DIGITS = 2 * HASH_BYTES;
const WORD_DIGITS = 8;

/** The sum of hashes, given in hex and laid end to end. Throws `BadValue` for what is none. */
export function sumOf(hashes: string): bigint {
  if (hashes.length % HASH_DIGITS !== 0 || /[^0-9A-Fa-f]/.test(hashes))
    throw new BadValue("hashes of another length");
  // Sums of 32-bit words are exact in a double for two million hashes, and quick.
  const words = [0, 0, 0, 0];
  for (let at = 0; at < hashes.length; at += WORD_DIGITS) {
    const word = (at / WORD_DIGITS) % words.length;
    words[word] = (words[word] ?? 0) + Number.parseInt(hashes.slice(at, at + WORD_DIGITS), 16);
  }
  return words.reduce((sum, word) => (sum << 32n) + BigInt(word), 0n) & MASK;
}

/** The digest of revisions: the sum of each row's hash times its revision, modulo 2^128, 32 hex
 * digits. Where the hashes agree, it tells whether the revisions do. */
export function revisionsHex(rows: readonly { hash: Uint8Array; rev: bigint }[]): string {
  const total = rows.reduce((sum, { hash, rev }) => sum + numberOf(hash) * rev, 0n);
  return (total & MASK).toString(16).padStart(32, "0");
}

/** An order-free digest: how many rows, and the sum of their hashes modulo 2^128. */
export class Digest {
  readonly count: number;
  readonly total: bigint;

  constructor(count = 0, total = 0n) {
    this.count = count;
    this.total = total & MASK;
  }

  static of(count: number, hex: string): Digest {
    return new Digest(count, BigInt(`0x${hex}`));
  }

  add(row: Uint8Array): Digest {
    return new Digest(this.count + 1, this.total + numberOf(row));
  }

  remove(row: Uint8Array): Digest {
    return new Digest(this.count - 1, this.total - numberOf(row));
  }

  /** Many rows at once: `removed` are not counted any more, `added` are. */
  replace(removed: readonly Uint8Array[], added: readonly Uint8Array[]): Digest {
    let total = this.total;
    for (const row of added) total += numberOf(row);
    for (const row of removed) total -= numberOf(row);
    return new Digest(this.count + added.length - removed.length, total);
  }

  /** Many rows more, of whose hashes only the sum is known. */
  withSum(count: number, total: bigint): Digest {
    return new Digest(this.count + count, this.total + total);
  }

  /** The sum as 32 hex digits. */
  get hex(): string {
    return this.total.toString(16).padStart(32, "0");
  }
}
