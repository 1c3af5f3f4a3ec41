/**
 * The client's side of exchanges: what is sent, what is believed, what is stored.
 *
 * Knows: one replica and one transport. Must not know: when to sync (`core/session`).
 * Upholds I6, I7 (the nonce is stored before it is sent and reused until it is answered), I10, I35.
 * Database work is synchronous and whole; `turn` gives it the connection while others wait.
 */

import { bestOffset, type OffsetSample } from "../core/clock.js";
import {
  AttentionNeeded,
  DatabaseError,
  DatabaseFull,
  FileRefused,
  SignInNeeded,
  SyncError,
  UpgradeNeeded,
} from "../core/errors.js";
import {
  type Checkpoint,
  type ExchangeRequest,
  type Head,
  type Nonces,
  type RangeAnswer,
  type RangeQuery,
  type RowQuery,
  VERSION as PROTOCOL,
  type VerifyRequest,
} from "../protocol/messages.generated.js";
import { whole } from "../sqlite/connection.js";
import type { Keep, KeptBytes } from "../sqlite/keep.js";
import type { Answer } from "./answer.js";
import { type Applied, Applier } from "./apply.js";
import { checkpointOf, differing, reportOf } from "./checkpoint.js";
import type { LocalDatabase } from "./database.js";
import { clear } from "./files.js";
import { type Host, randomHex } from "./host.js";
import { attach, type AttachedFile, detach } from "./load.js";
import { catchupLines, Load } from "./loading.js";
import { nextBatch } from "./outbox.js";
import { seal } from "./seal.js";
import { Told } from "./told.js";
import type { Loading } from "./status.js";
import type { Transport } from "./transport.js";
import { breathe } from "./turns.js";

const SAMPLES_MAX = 8;

/** What one exchange did. `left`: transactions that are still to be sent or answered. */
export interface Exchanged {
  readonly sent: number;
  readonly left: number;
  readonly applied: Applied;
  readonly ranges: readonly RangeAnswer[];
  /** Scopes that may differ now though nothing is wrong: the server has forgotten removals, or they
   * differed before. */
  readonly expected: ReadonlySet<string>;
}

/** Whether scopes differ, and all of them were expected to. */
export function reconciles({ applied, expected }: Exchanged): boolean {
  return applied.differing.length > 0 && applied.differing.every((scope) => expected.has(scope));
}

/** Whether anything was decided or arrived. */
export function progressed({ applied }: Exchanged): boolean {
  return applied.applied + applied.refused + applied.held + applied.rows + applied.removed > 0;
}

/** Runs synchronous work on the database when it is its turn. */
export type Turn = <T>(work: () => T | Promise<T>) => Promise<T>;

/** Makes exchanges for one replica, one at a time. */
export class Exchanger {
  readonly #database: LocalDatabase;
  readonly #transport: Transport;
  readonly #host: Host;
  readonly #turn: Turn;
  #samples: OffsetSample[] = [];
  #last: Promise<unknown> = Promise.resolve();
  readonly #told = new Told();
  /** The moment that was stored with the last answer; null when the two sides differed. */
  #notedUs: number | null = null;
  readonly #keep: Keep;
  #stopped = new AbortController();
  /** Whether no files are kept, of this load, one before it, or another leader. */
  #tidy = false;
  /** Told how far a first load or a large catch-up is, and with null that there is none any more.
   * While it imports, it is told within the turn. */
  onLoading: (loading: Loading | null) => void = () => undefined;

  /** Told when transactions are about to be sent, and are marked so. */
  onSent: () => void = () => undefined;

  constructor(database: LocalDatabase, keep: Keep, transport: Transport, host: Host, turn: Turn) {
    this.#database = database;
    this.#keep = keep;
    this.#transport = transport;
    this.#host = host;
    this.#turn = turn;
  }

  /** One round trip: pending work up, outcomes and news down, all stored in one transaction.
   * Throws the `SyncError` tree, or `DatabaseError`; then nothing of the answer is stored. */
  exchange(): Promise<Exchanged> {
    const stopped = this.#stopped.signal; // also while it waits for another to end
    return this.alone(async () => {
      const load = new Load({
        keep: this.#keep,
        transport: this.#transport,
        program: this.#database.program,
        told: (how) => this.onLoading(how),
        stopped,
        monotonicMs: this.#host.monotonicMs,
      });
      try {
        let result = await this.#round(load);
        while (result === null) result = await this.#round(load);
        if (!this.#tidy) {
          await clear(this.#keep).catch(() => undefined); // the next load does it again
          this.#tidy = true;
        }
        return result;
      } finally {
        if (load.used) this.onLoading(null);
      }
    });
  }

  /** End what is under way with files: no request is made for it any more. What is asked for later goes
   * ahead. */
  interrupt(): void {
    this.#stopped.abort();
    this.#stopped = new AbortController();
  }

  /** One request and its answer; null when it has to be made again, with what files bring. */
  async #round(load: Load): Promise<Exchanged | null> {
    load.checkStopped();
    const { request, firstNew } = await this.#turn(() => this.#prepare(load));
    if ((request.transactions?.length ?? 0) > 0) this.onSent();
    let answer: Answer;
    try {
      answer = await this.#transport.exchange(request);
    } catch (error) {
      if (notTaken(error) && firstNew !== null) await this.#turn(() => this.#takeBack(firstNew));
      throw error;
    }
    const files = request.files === undefined ? null : answer.files();
    if (files === null) {
      try {
        const sent = request.transactions?.length ?? 0;
        const result = await this.#store(answer, request.nonce, sent, load);
        this.#told.heard(request.report ?? undefined, this.#notedUs);
        return result;
      } catch (error) {
        // Of a full disk nothing of the files stays: local work needs the space.
        if (error instanceof DatabaseFull) await clear(this.#keep).catch(() => undefined);
        if (!(error instanceof FileRefused)) throw error;
        load.refuse();
        return null;
      }
    }
    await this.#turn(() => this.#checkIdentity(answer.head, request.nonce));
    for (const scope of missed(answer.head)) load.missed.add(scope);
    this.#tidy = false;
    await load.take(answer.head, files);
    return null;
  }

  /** Ask for digests of ranges and the server's version of rows; take in its catch-up.
   * The caller has the exchanger to itself (`alone`). */
  async verify(ranges: readonly RangeQuery[], rows: readonly RowQuery[]): Promise<Exchanged> {
    const request = await this.#turn((): VerifyRequest => {
      const [device = "", epoch = ""] = this.#database.texts("device", "epoch");
      return {
        protocol: PROTOCOL,
        schema: this.#database.program.json.fingerprint,
        device,
        epoch,
        now: this.#host.nowUs(),
        checkpoint: checkpointOf(this.#database),
        ranges,
        rows,
      };
    });
    const answer = await this.#transport.verify(request);
    return await this.#store(answer, null, 0, null);
  }

  /** Run this while no other exchange is under way. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  /** What this attempt was the first to send has not reached the server: pending again. */
  #takeBack(firstNew: number): void {
    this.#database.connection.transaction(() =>
      this.#database.connection.execute(
        "UPDATE holdfast_tx SET state = 'pending' WHERE state = 'sent' AND number >= ?",
        [BigInt(firstNew)],
      ),
    );
  }

  /** Seal, choose what goes up, and store the proposed nonce before it is sent. With the request
   * comes the lowest number that was never sent before. */
  #prepare(load: Load): { readonly request: ExchangeRequest; readonly firstNew: number | null } {
    const database = this.#database;
    return database.connection.transaction(() => {
      const nowUs = this.#host.nowUs();
      seal(database, this.#host);
      const [device = "", epoch = "", nonce = "", stored = ""] = database.texts(
        "device",
        "epoch",
        "nonce",
        "next_nonce",
      );
      const [confirmed, offset, error, verified] = database.state(
        "confirmed",
        "offset_us",
        "offset_error_us",
        "verified_us",
      );
      const [pending] = database.connection.execute(
        "SELECT min(number) FROM holdfast_tx WHERE state = 'pending'",
      );
      const firstNew = typeof pending?.[0] === "bigint" ? Number(pending[0]) : null;
      const transactions = nextBatch(database);
      let proposed = stored;
      // With nothing to send, and no answer outstanding, no new nonce is proposed.
      if (proposed === "" && (transactions.length > 0 || nonce === "")) {
        proposed = randomHex(this.#host, 16);
        database.writeState({ next_nonce: proposed });
      }
      const lastSent = transactions.at(-1)?.number ?? 0;
      const report = this.#told.untold(
        reportOf(database, lastSent),
        typeof verified === "bigint" ? Number(verified) : null,
      );
      const measured = typeof offset === "bigint" && typeof error === "bigint";
      // Without stamps to correct it is told only together with the rest of what is to be shown.
      const showsOffset = measured && (lastSent > 0 || report !== null);
      const request: ExchangeRequest = {
        protocol: PROTOCOL,
        schema: database.program.json.fingerprint,
        device,
        epoch,
        now: nowUs,
        checkpoint: { ...checkpointOf(database), ...load.positions },
        nonce: { since: nonce, to: proposed || nonce },
        ...(showsOffset ? { offset: { us: Number(offset), error_us: Number(error) } } : {}),
        ...(report === null ? {} : { report }),
        confirmed: whole(confirmed),
        ...(load.encodings.length > 0 ? { files: load.encodings } : {}),
        // Of scopes that only files bring, the keys are not here yet.
        ...(Object.keys(load.positions).length === 0 ? { brief: true } : {}),
        transactions,
      };
      return { request, firstNew };
    });
  }

  /** Store an answer, and the files it builds on, when it is our turn. */
  async #store(
    answer: Answer,
    nonces: Nonces | null,
    sent: number,
    load: Load | null,
  ): Promise<Exchanged> {
    const catchups = (await load?.openCatchups()) ?? [];
    const snapshots = load?.snapshots ?? [];
    const { connection } = this.#database;
    try {
      return await this.#turn(async () => {
        if (snapshots.length > 0) load?.importing(0);
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
          // What was deleted is overwritten in the file; the log would keep it for a while.
          if (result.applied.lost > 0) connection.execute("PRAGMA wal_checkpoint(TRUNCATE)");
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
    answer: Answer,
    nonces: Nonces | null,
    sent: number,
    { load, files, catchups }: Loaded,
  ): Generator<number, Exchanged, void> {
    const { head, checkpoint } = answer;
    const ranges: RangeAnswer[] = [];
    this.#checkIdentity(head, nonces);
    this.#checkNewer(checkpoint);
    // With files the second request is no longer below the floor.
    const expected = new Set([
      ...differing(this.#database),
      ...missed(head),
      ...(load?.missed ?? []),
    ]);
    const applier = new Applier(this.#database, this.#host);
    const lines = news(answer, ranges);
    const filed = catchupLines(catchups);
    const applied = yield* applier.apply(head, lines, checkpoint, files, filed);
    this.#note(answer, applied.differing, expected, nonces);
    const left = this.#database.count("holdfast_tx", "state IN ('pending', 'sent')");
    return { sent, left, applied, ranges, expected };
  }

  #checkIdentity(head: Head, nonces: Nonces | null): void {
    const [device = "", epoch = "", nonce = "", proposed = ""] = this.#database.texts(
      "device",
      "epoch",
      "nonce",
      "next_nonce",
    );
    if (epoch !== "" && head.epoch !== epoch)
      throw new AttentionNeeded(
        "the server's history is another one (restored from a backup?); nothing was changed and " +
          "pending work is kept",
        "epoch_mismatch",
      );
    if (device !== "" && head.device !== device)
      throw new AttentionNeeded("the answer is for another device", "wrong_device");
    if (nonces !== null && (nonce !== nonces.since || (proposed || nonce) !== nonces.to))
      throw new DatabaseError("this exchange has been answered already", "sync_elsewhere");
  }

  /** Newer news than this answer has may have been applied: never go back (I15). */
  #checkNewer(offered: Checkpoint): void {
    for (const [scope, applied] of Object.entries(checkpointOf(this.#database))) {
      const position = offered.scopes[scope];
      if (position !== undefined && position.version < applied.version)
        throw new SyncError("a newer answer has been applied already", "sync_elsewhere");
    }
  }

  #note(
    answer: Answer,
    differing: readonly string[],
    expected: ReadonlySet<string>,
    nonces: Nonces | null,
  ): void {
    const { head, sentUs, receivedUs } = answer;
    const nowUs = this.#host.nowUs();
    this.#samples = [...this.#samples, { sentUs, receivedUs, serverUs: head.time }].slice(
      -SAMPLES_MAX,
    );
    const best = bestOffset(this.#samples, nowUs);
    const database = this.#database;
    if (best !== null)
      database.writeState({
        offset_us: BigInt(best.offsetUs),
        offset_error_us: BigInt(best.errorUs),
      });
    if (nonces !== null && nonces.to !== nonces.since)
      database.writeState({ nonce: nonces.to, next_nonce: "" });
    database.writeState({ device: head.device, user: head.user, epoch: head.epoch });
    if (!differing.every((scope) => expected.has(scope)))
      database.connection.execute("UPDATE holdfast_state SET mismatches = mismatches + 1");
    this.#notedUs = differing.length === 0 ? nowUs + (best?.offsetUs ?? 0) : null;
    if (this.#notedUs !== null) database.writeState({ verified_us: BigInt(this.#notedUs) });
  }
}

/** The lines of news; answers about ranges are put aside. */
function* news(answer: Answer, ranges: RangeAnswer[]) {
  for (const line of answer.lines())
    if (line.type === "range") ranges.push(line);
    else yield line;
}

interface Loaded {
  readonly load: Load | null;
  readonly files: readonly AttachedFile[];
  readonly catchups: readonly KeptBytes[];
}

/** Scopes of which the server has forgotten removals that this device has not seen. */
function missed(head: Head): string[] {
  return Object.entries(head.scopes).flatMap(([scope, grant]) => (grant.reconcile ? [scope] : []));
}

/** Whether it is certain that the server has taken nothing of the request. */
function notTaken(error: unknown): boolean {
  return (
    error instanceof SignInNeeded ||
    error instanceof UpgradeNeeded ||
    error instanceof AttentionNeeded
  );
}
