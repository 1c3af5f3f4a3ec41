/**
 * Storing an answer: what it says of this device is checked, its news and files are applied, and the
 * measured clock is noted, in one transaction.
 *
 * Knows: the replica's state row, and the order of all this. Must not know: how an answer came, or what
 * is asked next. Upholds I7 (an answer is stored once), I10, I15 (never an older one over a newer one).
 */

import { OFFSET_SAMPLES_MAX } from "../../core/limits.js";
import { bestOffset, type OffsetSample } from "../../core/clock.js";
import { AttentionNeeded, DatabaseError, SyncError } from "../../core/errors.js";
import type {
  Checkpoint,
  Head,
  Nonces,
  RangeAnswer,
  Transaction,
} from "../../protocol/messages.generated.js";
import type { FileStore, StoredBytes } from "../../sqlite/fileStore.js";
import type { SpooledAnswer } from "../http/spool.js";
import { type Applied, Applier } from "../rebase/apply.js";
import { checkpointOf, differing } from "./checkpoint.js";
import { whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";
import { Freeing } from "../inbox/freeing.js";
import type { Host } from "../host.js";
import { Inbox } from "../inbox/inbox.js";
import { addEvent } from "../identity/history.js";
import { countOffered } from "../identity/kept.js";
import { attach, type AttachedFile, detach } from "../load/importFiles.js";
import { catchupLines, type Load } from "../load/firstLoad.js";
import { seal } from "../changes/seal.js";
import { breathe, type MutexTurn } from "../mutex.js";
import { readWaiting, type Waiting } from "../storage/waiting.js";

/** Result of one exchange. `left`: transactions that are still to be sent or answered. */
export interface Exchanged {
  readonly sent: number;
  readonly left: number;
  readonly applied: Applied;
  readonly ranges: readonly RangeAnswer[];
  /** Scopes that may differ now though nothing is wrong: the server has forgotten removals, or they
   * differed before. */
  readonly expected: ReadonlySet<string>;
}

/** Return whether scopes differ, and all of them were expected to. */
export function reconciles({ applied, expected }: Exchanged): boolean {
  return applied.differing.length > 0 && applied.differing.every((scope) => expected.has(scope));
}

/** Return whether anything was decided or arrived. */
function progressed({ applied }: Exchanged): boolean {
  return applied.applied + applied.refused + applied.held + applied.rows + applied.removed > 0;
}

/** Return whether the server has decided nothing of what it was sent, and it waits on. What was written while
 * an exchange that had nothing to send was under way has not been sent. */
export function barren(done: Exchanged): boolean {
  return done.sent > 0 && done.left > 0 && !progressed(done);
}

interface Loaded {
  readonly load: Load | null;
  readonly files: readonly AttachedFile[];
  readonly catchups: readonly StoredBytes[];
}

export class AnswerStore {
  readonly #database: LocalDatabase;
  readonly #keep: FileStore;
  readonly #host: Host;
  readonly #turn: MutexTurn;
  #samples: OffsetSample[] = [];
  #notedUs: number | null = null;

  constructor(database: LocalDatabase, keep: FileStore, host: Host, turn: MutexTurn) {
    this.#database = database;
    this.#keep = keep;
    this.#host = host;
    this.#turn = turn;
  }

  /** The moment that was stored with the last answer; null when the two sides differed. */
  get notedUs(): number | null {
    return this.#notedUs;
  }

  /** Store an answer, and the files it builds on, when it is our turn. */
  async store(
    answer: SpooledAnswer,
    nonces: Nonces | null,
    sent: readonly Transaction[],
    load: Load | null,
  ): Promise<Exchanged> {
    const catchups = (await load?.openCatchups()) ?? [];
    const snapshots = load?.snapshots ?? [];
    const { connection } = this.#database;
    try {
      return await this.#turn(async () => {
        if (snapshots.length + catchups.length > 0) load?.importing(0);
        const files = attach(connection, this.#keep, snapshots);
        // Triggers of the app's may write any table of its own.
        if (files.length > 0) connection.listenNoMore(this.#database.names());
        try {
          const result = await this.#database.syncSteps(
            () => this.#steps(answer, nonces, sent, { load, files, catchups }),
            async (rows) => {
              load?.importing(rows);
              await breathe();
            },
          );
          // What was deleted is overwritten in the file; the log would keep it for a while. And after a
          // large import it would stay as large as that.
          if (result.applied.lost > 0 || files.length > 0)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)");
          return result;
        } finally {
          if (files.length > 0) connection.listen();
          detach(connection, files);
        }
      });
    } finally {
      for (const file of catchups) file.close();
    }
  }

  *#steps(
    answer: SpooledAnswer,
    nonces: Nonces | null,
    sent: readonly Transaction[],
    { load, files, catchups }: Loaded,
  ): Generator<number, Exchanged, void> {
    const { head, checkpoint } = answer;
    const ranges: RangeAnswer[] = [];
    this.checkIdentity(head, nonces);
    this.#checkNewer(checkpoint);
    // With files the second request is no longer below the floor.
    const expected = new Set([
      ...differing(this.#database),
      ...missed(head),
      ...(load?.missed ?? []),
    ]);
    const numbered = new Map(sent.map((one) => [one.number, one]));
    const applier = new Applier(this.#database, this.#host, numbered);
    const lines = news(answer, ranges);
    const filed = catchupLines(catchups);
    const applied = yield* applier.apply(head, lines, checkpoint, files, filed);
    this.#note(answer, applied.differing, expected, nonces);
    const waiting = this.#waiting();
    const left = waiting.pending + waiting.sent + countOffered(this.#database);
    return { sent: sent.length, left, applied, ranges, expected };
  }

  /** What waits, when what was held by a transaction that a person has settled meanwhile goes on. */
  #waiting(): Waiting {
    const waiting = readWaiting(this.#database);
    if (waiting.held === 0) return waiting;
    new Freeing(this.#database, new Inbox(this.#database), (replaces) =>
      seal(this.#database, this.#host, replaces),
    ).afterNews();
    return readWaiting(this.#database);
  }

  /** Whether an answer is for this device and this exchange. Throws, and nothing is changed. */
  checkIdentity(head: Head, nonces: Nonces | null): void {
    const [device = "", epoch = "", nonce = "", proposed = ""] = this.#database.texts(
      "device",
      "epoch",
      "nonce",
      "next_nonce",
    );
    if (epoch !== "" && head.epoch !== epoch)
      throw new SyncError(
        "the server has begun a new history (epoch) meanwhile; it is asked again",
        "sync_elsewhere",
      );
    if (device !== "" && head.device !== device)
      throw new AttentionNeeded("the answer is for another device", "wrong_device");
    if (nonces !== null && (nonce !== nonces.since || (proposed || nonce) !== nonces.to))
      throw new DatabaseError("this exchange has been answered already", "sync_elsewhere");
  }

  /** Newer news than this answer has may have been applied: never go back (I15). */
  #checkNewer(offered: Checkpoint): void {
    const [epoch] = this.#database.texts("epoch");
    if (epoch === "") return; // after a restore of the server its versions may be older
    for (const [scope, applied] of Object.entries(checkpointOf(this.#database))) {
      const position = offered.scopes[scope];
      if (position !== undefined && position.version < applied.version)
        throw new SyncError("a newer answer has been applied already", "sync_elsewhere");
    }
  }

  #note(
    answer: SpooledAnswer,
    differing: readonly string[],
    expected: ReadonlySet<string>,
    nonces: Nonces | null,
  ): void {
    const { head, sentUs, receivedUs } = answer;
    const nowUs = this.#host.nowUs();
    this.#samples = [...this.#samples, { sentUs, receivedUs, serverUs: head.time }].slice(
      -OFFSET_SAMPLES_MAX,
    );
    const best = bestOffset(this.#samples, nowUs);
    const database = this.#database;
    if (best !== null)
      database.writeState({
        offset_us: BigInt(best.offsetUs),
        offset_error_us: BigInt(best.errorUs),
      });
    this.#noteIdentity(head, nonces);
    if (nonces !== null && nonces.to !== nonces.since)
      database.writeState({ nonce: nonces.to, next_nonce: "" });
    database.writeState({
      device: head.device,
      user: head.user,
      epoch: head.epoch,
      server_generation: BigInt(head.generation || (database.program.json.schema.generation ?? 1)),
    });
    if (!differing.every((scope) => expected.has(scope)))
      database.connection.execute(database.bookkeeping.state.add_mismatches, [1n]);
    this.#notedUs = differing.length === 0 ? nowUs + (best?.offsetUs ?? 0) : null;
    if (this.#notedUs !== null) database.writeState({ verified_us: BigInt(this.#notedUs) });
  }

  /** An answer to an exchange ends a fork, once all that was offered again has its outcome. */
  #noteIdentity(head: Head, nonces: Nonces | null): void {
    const database = this.#database;
    const { identity } = database.bookkeeping;
    const [replica, nonce, origin] = database.texts("replica", "nonce", "origin");
    if (replica === "") database.writeState({ replica: head.device }); // as servers knew it before
    if (head.replaced === true && nonce === "" && origin === "")
      addEvent(database, this.#host, "reinitialised");
    if (nonces === null) return;
    const [last, forks] = database.state("origin_last", "forks");
    if (whole(forks) > 0) database.writeState({ forks: 0n });
    if (origin !== "" && database.count(identity.offered_again, last ?? 0n) === 0)
      database.connection.execute(identity.finish);
  }
}

/** The lines of news; answers about ranges are put aside. */
function* news(answer: SpooledAnswer, ranges: RangeAnswer[]) {
  for (const line of answer.lines())
    if (line.type === "range") ranges.push(line);
    else yield line;
}

/** Scopes of which the server has forgotten removals that this device has not seen. */
export function missed(head: Head): string[] {
  return Object.entries(head.scopes).flatMap(([scope, grant]) => (grant.reconcile ? [scope] : []));
}
