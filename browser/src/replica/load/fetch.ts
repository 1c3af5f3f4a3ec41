/**
 * Fetching files, over cuts, reloads and killed leaders, and believing them when they are whole.
 *
 * Knows: a keep beside the replica, and the way to the server. Must not know: the replica's database,
 * or what is in a file.
 * What has arrived is kept as `<sha256>.part`; whoever leads next reads it again and goes on behind it.
 * A file counts when its length and SHA-256 are those of the offer and it unpacks to exactly the size
 * that was told; else all of it is thrown away. Nothing is unpacked that has not been found to be it.
 *
 * Upholds I31 (pieces, sizes and tries are bounded; only files of the newest offers are kept) and I33
 * (a full disk is told, and given back).
 */

import { sha256 } from "@noble/hashes/sha2.js";

import {
  DatabaseCorrupt,
  DatabaseFull,
  FileRefused,
  HoldfastError,
  messageOf,
  Offline,
  SyncError,
} from "../../core/errors.js";
import {
  FILE_GAIN_BYTES_MIN,
  FILE_PACKED_PIECE_BYTES,
  FILE_PIECE_BYTES,
  FILE_SPACE_SHARE,
  FILE_TRIES_MAX,
  FILE_UNPACKED_BYTES_MAX,
  MIB,
} from "../../core/limits.js";
import { toHex } from "../../core/values.js";
import type { FileOffer } from "../../protocol/messages.generated.js";
import type { FileStore, StoredBytes } from "../../sqlite/fileStore.js";
import { incomplete } from "../failures.js";
import type { Transport } from "../http/transport.js";

/** What this host can unpack. */
export const ENCODINGS: readonly string[] =
  typeof DecompressionStream === "undefined" ? [] : ["gzip"];
const SHA256 = /^[0-9a-f]{64}$/;

/** The bytes that arrived are not those that were offered. */
class Damaged extends HoldfastError {}

/** The name of what has arrived of a file. */
function partOf(offer: FileOffer): string {
  return `${offer.sha256}.part`;
}

/** The name of what it unpacks to. */
export function unpackedOf(offer: FileOffer): string {
  return `${offer.sha256}.${offer.kind}`;
}

/** Keep what has arrived of these, and nothing else; see that there is room for them. Throws
 * `SyncError` (`disk_full`, `file_not_kept`), or `FileRefused` for an offer that makes no sense. */
export async function prepare(keep: FileStore, offers: readonly FileOffer[]): Promise<void> {
  offers.forEach(checkOffer);
  const wanted = new Set(offers.flatMap((offer) => [partOf(offer), unpackedOf(offer)]));
  await inRoom(async () => {
    for (const name of await keep.names()) if (!wanted.has(name)) await keep.remove(name);
    const free = await keep.free();
    if (free === null) return;
    let need = 0;
    for (const offer of offers) {
      const there = (await keep.size(partOf(offer))) + (await keep.size(unpackedOf(offer)));
      need += Math.max(0, offer.bytes + FILE_SPACE_SHARE * offer.unpacked_bytes - there);
    }
    if (need > free)
      throw new SyncError(
        `a first load needs about ${Math.ceil(need / MIB)} MiB of space, ${Math.floor(free / MIB)} are free`,
        "disk_full",
      );
  });
}

/** Remove everything; also what a killed leader has left. */
export async function clear(keep: FileStore): Promise<void> {
  for (const name of await keep.names()) await keep.remove(name);
}

function checkOffer(offer: FileOffer): void {
  const sane =
    SHA256.test(offer.sha256) &&
    ENCODINGS.includes(offer.encoding) &&
    offer.bytes > 0 &&
    offer.unpacked_bytes > 0 &&
    offer.unpacked_bytes <= FILE_UNPACKED_BYTES_MAX &&
    offer.rows >= 0;
  if (!sane) throw new FileRefused("the offer of a file is invalid");
}

/** Brings files into a keep. `told` hears how many bytes of a file are there; `stopped` ends a request
 * that waits for more. */
export class Fetcher {
  readonly #keep: FileStore;
  readonly #transport: Pick<Transport, "file">;
  readonly #told: (bytes: number) => void;
  readonly #stopped: AbortSignal;

  constructor(
    keep: FileStore,
    transport: Pick<Transport, "file">,
    told: (bytes: number) => void,
    stopped: AbortSignal,
  ) {
    this.#keep = keep;
    this.#transport = transport;
    this.#told = told;
    this.#stopped = stopped;
  }

  /** The name of the file in the keep, unpacked and whole. Throws `Offline`, `ServerTrouble`,
   * `FileGone`, `FileRefused` or `SyncError` (`disk_full`, `file_not_kept`); what has arrived is kept
   * where that helps. */
  async fetch(offer: FileOffer): Promise<string> {
    for (let tries = 0; tries < FILE_TRIES_MAX; tries += 1) {
      try {
        await inRoom(() => this.#bring(offer));
        return unpackedOf(offer);
      } catch (error) {
        // Of a full disk nothing of the file stays: local work needs the space.
        const full = error instanceof SyncError && error.code === "disk_full";
        if (full) await this.#discard(offer).catch(() => undefined); // as far as it lets us
        if (!(error instanceof Damaged)) throw error;
        await this.#discard(offer);
      }
    }
    throw new FileRefused("a file did not match its offer, twice");
  }

  async #bring(offer: FileOffer): Promise<void> {
    const part = await this.#keep.bytes(partOf(offer));
    try {
      await this.#rest(new Arriving(part, offer), offer);
      const name = unpackedOf(offer);
      if (offer.kind === "snapshot") await this.#keep.makeDatabase(name, unpacked(part, offer));
      else {
        const lines = await this.#keep.bytes(name);
        try {
          lines.clear();
          for await (const piece of unpacked(part, offer)) lines.append(piece);
        } finally {
          lines.close();
        }
      }
    } finally {
      part.close();
    }
  }

  /** Ask for what is missing, until nothing is. */
  async #rest(arriving: Arriving, offer: FileOffer): Promise<void> {
    this.#told(arriving.size);
    while (arriving.size < offer.bytes) {
      let before = arriving.size;
      const from = { start: before, sha256: offer.sha256, stopped: this.#stopped };
      try {
        await this.#transport.file(offer.path, from, async ({ start, pieces }) => {
          if (start !== before) {
            arriving.restart();
            before = 0;
          }
          for await (const piece of pieces) {
            arriving.write(piece);
            this.#told(arriving.size);
          }
        });
        if (arriving.size === before) throw incomplete("a part of a file was empty");
      } catch (error) {
        if (!(error instanceof Offline) || error.code === "interrupted" || error.code === "closed")
          throw error;
        if (arriving.size - before < FILE_GAIN_BYTES_MIN) throw error;
      }
    }
    arriving.finish();
  }

  async #discard(offer: FileOffer): Promise<void> {
    for (const name of [partOf(offer), unpackedOf(offer)]) await this.#keep.remove(name);
  }
}

/** One file on its way: its bytes so far, and their hash. */
class Arriving {
  readonly #part: StoredBytes;
  readonly #offer: FileOffer;
  #hash = sha256.create();

  /** Takes in again what is there from before. */
  constructor(part: StoredBytes, offer: FileOffer) {
    this.#part = part;
    this.#offer = offer;
    this.#mustFit();
    for (const piece of pieces(part, FILE_PIECE_BYTES)) this.#hash.update(piece);
  }

  get size(): number {
    return this.#part.size;
  }

  /** The server sends it from its first byte. */
  restart(): void {
    this.#part.clear();
    this.#hash = sha256.create();
  }

  write(piece: Uint8Array): void {
    try {
      this.#part.append(piece);
    } catch (error) {
      throw notKept(error);
    }
    this.#mustFit();
    this.#hash.update(piece);
  }

  finish(): void {
    if (toHex(this.#hash.digest()) !== this.#offer.sha256) throw new Damaged("another SHA-256");
  }

  #mustFit(): void {
    if (this.size > this.#offer.bytes) throw new Damaged("it is longer than offered");
  }
}

/** Return what is there, piece by piece; a piece is good until the next is asked for. */
export function* pieces(kept: StoredBytes, bytes: number): Generator<Uint8Array> {
  const piece = new Uint8Array(bytes);
  let at = 0;
  for (;;) {
    const found = kept.read(piece, at);
    if (found === 0) return;
    at += found;
    yield piece.subarray(0, found);
  }
}

/** Return what a file unpacks to, never more than was told. Throws `Damaged`. */
async function* unpacked(part: StoredBytes, offer: FileOffer): AsyncGenerator<Uint8Array> {
  const source = pieces(part, FILE_PACKED_PIECE_BYTES);
  const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: (controller) => {
      const next = source.next();
      if (next.done) controller.close();
      else controller.enqueue(next.value.slice());
    },
  });
  const reader = packed.pipeThrough(new DecompressionStream("gzip")).getReader();
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      if (size > offer.unpacked_bytes) throw new Damaged("it unpacks to more");
      yield value;
    }
  } catch (error) {
    throw error instanceof TypeError ? new Damaged(messageOf(error)) : error;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
  if (size !== offer.unpacked_bytes) throw new Damaged("it unpacks to less");
}

/** A disk that is full meanwhile, or does not let us, as our own error. */
async function inRoom<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw notKept(error);
  }
}

function notKept(error: unknown): HoldfastError {
  const full = error instanceof DOMException && error.name === "QuotaExceededError";
  if (full || error instanceof DatabaseFull)
    return new SyncError("no space left for a file of the server", "disk_full");
  // Its SHA-256 is the one of the offer: it would be the same again.
  if (error instanceof DatabaseCorrupt)
    return new FileRefused(`a file is no database: ${error.message}`);
  if (error instanceof HoldfastError) return error;
  const why = messageOf(error);
  return new SyncError(`a file of the server cannot be stored: ${why}`, "file_not_kept");
}
