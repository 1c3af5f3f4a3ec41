/**
 * A first load or a large catch-up under way: the files of one exchange, until an answer has rows.
 *
 * Knows: offers, and in which order what they bring is applied. Must not know: SQL, or HTTP. The twin
 * of `replica/load/firstLoad.py`.
 * An answer that offers files settles nothing. What it offers is fetched and looked at, and the same
 * exchange is made again from the positions that the files bring; that goes on until an answer has the
 * rest as rows. Files are kept to that moment, when all of it is applied at once.
 *
 * Where files do not help (refused, gone too often, too many of them, never ready), the exchange is made
 * without: then all rows are in the answer. So a file can cost time, and nothing else.
 *
 * Upholds I10 and I16 (positions of files are told to the server, and stored only with their rows), I31
 * (rounds, files and waits are bounded).
 */

import { FileGone, FileRefused, Offline, SyncError } from "../../core/errors.js";
import { byCodePoint } from "../../core/keys.js";
import {
  FILE_AGAIN_MS,
  FILE_BUILD_PATIENCE_MS,
  FILE_PIECE_BYTES,
  FILE_ROUNDS_MAX,
  FILE_WAIT_MS_MAX,
  FILES_AT_ONCE_MAX,
  LOADING_TOLD_MS,
  RESPONSE_LINE_BYTES_MAX,
} from "../../core/limits.js";
import { fromHex } from "../../core/values.js";
import type {
  FileOffer,
  Files,
  Gone,
  Head,
  Position,
  Rows,
} from "../../protocol/messages.generated.js";
import type { FileStore, StoredBytes } from "../../sqlite/fileStore.js";
import { decodeLine, joined } from "../http/spool.js";
import { ENCODINGS, Fetcher, pieces, prepare, unpackedOf } from "./fetch.js";
import type { Program } from "../storage/program.js";
import { checkSnapshot, type SnapshotFile } from "./snapshotFile.js";
import type { Loading } from "../storage/status.js";
import type { Transport } from "../http/transport.js";

const NEWLINE = 10;

export interface LoadParts {
  readonly keep: FileStore;
  readonly transport: Transport;
  readonly program: Program;
  /** The key to the hashes of a scope's rows, as the replica knows it. */
  readonly hashKey: (scope: string) => Promise<Uint8Array | null>;
  readonly told: (loading: Loading) => void;
  /** Ends what is under way. */
  readonly stopped: AbortSignal;
  readonly monotonicMs: () => number;
  /** To be called by long work: it gets on. */
  readonly working: () => void;
}

/** The files of one exchange. Made anew for each; what had arrived before is found again. */
export class Load {
  /** What the files bring, on top of what the replica holds. */
  positions: Readonly<Record<string, Position>> = {};
  /** Scopes of which the server has forgotten removals that this device has not seen. */
  readonly missed = new Set<string>();
  snapshots: readonly SnapshotFile[] = [];
  #catchups: readonly FileOffer[] = [];
  #offers: readonly FileOffer[] = [];
  readonly #parts: LoadParts;
  #rounds = 0;
  #met = false;
  #wanted = true;
  #grown = { rows: -1, atMs: 0 };
  #told = { stage: "", atMs: 0 };

  constructor(parts: LoadParts) {
    this.#parts = parts;
  }

  /** Return what the next request says that it can take. */
  get encodings(): readonly string[] {
    const full = this.#offers.length >= FILES_AT_ONCE_MAX || this.#rounds >= FILE_ROUNDS_MAX;
    return this.#wanted && !full ? ENCODINGS : [];
  }

  /** Return whether anything came, or was to come, as a file. */
  get used(): boolean {
    return this.#met;
  }

  /** Refuse what the files had: all rows are to come in the answer. */
  refuse(): void {
    this.#wanted = false;
    this.positions = {};
    this.snapshots = this.#catchups = this.#offers = [];
  }

  /** Fetch what is offered, and wait for what is being made. Throws `SyncError`; what has arrived is
   * kept for the next attempt. */
  async take(head: Head, files: Files): Promise<void> {
    this.#rounds += 1;
    this.#met = true;
    const fresh = files.offers.slice(0, FILES_AT_ONCE_MAX - this.#offers.length);
    try {
      await prepare(this.#parts.keep, [...this.#offers, ...fresh]);
      for (const offer of fresh) await this.#fetch(head, offer);
      if (fresh.length === 0) await this.#wait(files);
    } catch (error) {
      if (error instanceof FileGone) await this.#pause(FILE_AGAIN_MS);
      else if (error instanceof FileRefused) this.refuse();
      else throw error;
    }
  }

  /** The catch-up files, open to be read without waiting. The caller closes them. */
  async openCatchups(): Promise<StoredBytes[]> {
    const open: StoredBytes[] = [];
    try {
      for (const offer of this.#catchups)
        open.push(await this.#parts.keep.bytes(unpackedOf(offer)));
      return open;
    } catch (error) {
      for (const one of open) one.close();
      throw error;
    }
  }

  /** So many rows are imported. Ends the work, with `Offline`, when it is to stop. */
  importing(rows: number): void {
    const total = this.#offers.reduce((sum, offer) => sum + offer.rows, 0);
    this.#tell(
      "importing",
      Math.min(rows, total),
      total,
      Object.keys(this.positions).sort(byCodePoint),
    );
  }

  /** Throws `Offline` (`interrupted`) when it is to stop. */
  checkStopped(): void {
    if (this.#parts.stopped.aborted)
      throw new Offline("the request was interrupted", "interrupted");
  }

  // --- one file ------------------------------------------------------------------------------------

  async #fetch(head: Head, offer: FileOffer): Promise<void> {
    const { keep, transport, program } = this.#parts;
    const scopes = Object.keys(offer.positions).sort(byCodePoint);
    const [scope = ""] = scopes;
    const one = scopes.length === 1 || offer.kind === "catchup";
    if (scopes.length === 0 || !one || !scopes.every((name) => Object.hasOwn(head.scopes, name)))
      throw new FileRefused("a file has positions of scopes that the device cannot read");
    if (this.#offers.some(({ id }) => id === offer.id))
      throw new FileRefused("a file is offered a second time");
    const fetcher = new Fetcher(
      keep,
      transport,
      (bytes) => this.#tell("downloading", bytes, offer.bytes, scopes),
      this.#parts.stopped,
    );
    const name = await fetcher.fetch(offer);
    const position = offer.positions[scope];
    if (offer.kind === "catchup") this.#catchups = [...this.#catchups, offer];
    else if (position !== undefined) {
      const key = head.scopes[scope]?.key ?? "";
      const hashKey = key === "" ? await this.#parts.hashKey(scope) : fromHex(key);
      if (hashKey === null) throw new FileRefused(`there is no key to the hashes of ${scope}`);
      const expected = { epoch: head.epoch, scope, hashKey, position };
      this.#tell("checking", 0, offer.rows, scopes);
      await checkSnapshot(
        () => {
          const db = keep.openDatabase(name);
          db.tellOfWork(this.#parts.working);
          return db;
        },
        program,
        expected,
        (rows) => this.#tell("checking", rows, offer.rows, scopes),
      );
      this.snapshots = [...this.snapshots, { name, scope, position, rows: position.count }];
    }
    this.#offers = [...this.#offers, offer];
    this.positions = { ...this.positions, ...offer.positions };
  }

  // --- waiting -------------------------------------------------------------------------------------

  async #wait({ building = [], retry_after_ms: retryMs = 0 }: Files): Promise<void> {
    const rows = building.reduce((sum, build) => sum + build.rows, 0);
    const total = building.reduce((sum, build) => sum + build.total, 0);
    const scopes = new Set(building.flatMap((build) => build.scopes));
    // What it is made of may have grown since it was counted.
    this.#tell("building", Math.min(rows, total), total, [...scopes].sort(byCodePoint));
    const nowMs = this.#parts.monotonicMs();
    if (rows !== this.#grown.rows) this.#grown = { rows, atMs: nowMs };
    if (nowMs - this.#grown.atMs > FILE_BUILD_PATIENCE_MS) this.#wanted = false;
    this.#rounds -= 1; // such a round does not count: patience ends it
    await this.#pause(Math.max(FILE_AGAIN_MS, Math.min(retryMs, FILE_WAIT_MS_MAX)));
  }

  async #pause(waitMs: number): Promise<void> {
    const { stopped } = this.#parts;
    await new Promise<void>((over) => {
      const end = (): void => {
        clearTimeout(timer);
        stopped.removeEventListener("abort", end);
        over();
      };
      const timer = setTimeout(end, waitMs);
      stopped.addEventListener("abort", end);
      if (stopped.aborted) end();
    });
    this.checkStopped();
  }

  #tell(stage: Loading["stage"], done: number, total: number, scopes: readonly string[]): void {
    this.checkStopped();
    const nowMs = this.#parts.monotonicMs();
    const early = nowMs - this.#told.atMs < LOADING_TOLD_MS;
    if (stage === this.#told.stage && early && done !== total) return;
    this.#told = { stage, atMs: nowMs };
    this.#parts.told({ stage, done, total, scopes });
  }
}

/** The lines of catch-up files. Throws `FileRefused` at one that is none. */
export function* catchupLines(files: readonly StoredBytes[]): Generator<Rows | Gone, void> {
  for (const file of files)
    for (const raw of linesOf(file)) {
      const line = read(raw);
      if (line.type !== "rows" && line.type !== "gone")
        throw new FileRefused("a line out of place");
      yield line;
    }
}

function read(raw: Uint8Array): ReturnType<typeof decodeLine> {
  try {
    return decodeLine(raw);
  } catch (error) {
    if (error instanceof SyncError) throw new FileRefused(error.message);
    throw error;
  }
}

function* linesOf(file: StoredBytes): Generator<Uint8Array, void> {
  let [parts, size]: [Uint8Array[], number] = [[], 0];
  for (const piece of pieces(file, FILE_PIECE_BYTES)) {
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      yield joined([...parts, piece.subarray(start, end)]);
      [parts, size, start] = [[], 0, end + 1];
    }
    parts.push(piece.slice(start));
    size += piece.length - start;
    if (size > RESPONSE_LINE_BYTES_MAX) throw new FileRefused("a line is too long");
  }
  if (size > 0) throw new FileRefused("its last line is cut");
}
