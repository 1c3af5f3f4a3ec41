/**
 * The client's side of exchanges: what is sent, again and again until an answer can be stored.
 *
 * Knows: one replica and one transport. Must not know: when to sync (`core/session`), or how an answer is
 * stored (`storeAnswer`). Drawn at the head of `engine/src/holdfast/replica/exchange/exchanger.py`.
 * Upholds I6, I7 (the nonce is stored before it is sent and reused until it is answered), I10, I35.
 * Database work is synchronous and whole; `turn` gives it the connection while others wait.
 */

import { serverGeneration, toldApart } from "../../core/connection/generations.js";
import {
  AttentionNeeded,
  DatabaseFull,
  FileRefused,
  SignInNeeded,
  SyncError,
  UpgradeNeeded,
} from "../../core/errors.js";
import {
  type ExchangeRequest,
  type RangeQuery,
  type RowQuery,
  VERSION as PROTOCOL,
  type VerifyRequest,
} from "../../protocol/messages.generated.js";
import { whole } from "../../sqlite/connection.js";
import type { FileStore } from "../../sqlite/fileStore.js";
import type { SpooledAnswer } from "../http/spool.js";
import { checkpointOf, identityOf, reportOf } from "./checkpoint.js";
import { FORKS_IN_A_ROW_MAX } from "../../core/limits.js";
import type { LocalDatabase } from "../storage/database.js";
import { clear } from "../load/fetch.js";
import { type Host, randomHex } from "../host.js";
import { Load } from "../load/firstLoad.js";
import { hashKeyOf } from "../storage/members.js";
import { nextBatch } from "../changes/outbox.js";
import { seal } from "../changes/seal.js";
import { accept } from "../identity/accept.js";
import { fork, partingOf } from "../identity/fork.js";
import type { Loading } from "../storage/status.js";
import { AnswerStore, type Exchanged, missed } from "./storeAnswer.js";
import { ReportMemory } from "./reportMemory.js";
import type { Transport } from "../http/transport.js";
import type { MutexTurn } from "../mutex.js";

/** Makes exchanges for one replica, one at a time. */
export class Exchanger {
  readonly #database: LocalDatabase;
  readonly #transport: Transport;
  readonly #host: Host;
  readonly #turn: MutexTurn;
  readonly #store: AnswerStore;
  #last: Promise<unknown> = Promise.resolve();
  readonly #told = new ReportMemory();
  readonly #keep: FileStore;
  #stopped = new AbortController();
  /** Whether no files are kept, of this load, one before it, or another leader. */
  #tidy = false;
  /** Told how far a first load or a large catch-up is, and with null that there is none any more.
   * While it imports, it is told within the turn. */
  onLoading: (loading: Loading | null) => void = () => undefined;

  /** Told when transactions are about to be sent, and are marked so. */
  onSent: () => void = () => undefined;

  constructor(
    database: LocalDatabase,
    keep: FileStore,
    transport: Transport,
    host: Host,
    turn: MutexTurn,
  ) {
    this.#database = database;
    this.#keep = keep;
    this.#transport = transport;
    this.#host = host;
    this.#turn = turn;
    this.#store = new AnswerStore(database, keep, host, turn);
  }

  /** One round trip: pending work up, outcomes and news down, all stored in one transaction.
   * Throws the `SyncError` tree, or `DatabaseError`; then nothing of the answer is stored. */
  exchange(): Promise<Exchanged> {
    const stopped = this.#stopped.signal; // also while it waits for another to end
    return this.alone(() => this.#exchange(stopped));
  }

  /** The same, for who has the exchanger to itself. Where the server takes this replica for another one,
   * it becomes one of its own, and asks again at once. */
  async #exchange(stopped: AbortSignal): Promise<Exchanged> {
    try {
      return await this.#whole(stopped);
    } catch (error) {
      if (!(await this.#forked(error))) throw error;
      return await afterFork(() => this.#whole(stopped));
    }
  }

  async #whole(stopped: AbortSignal): Promise<Exchanged> {
    const load = new Load({
      keep: this.#keep,
      transport: this.#transport,
      program: this.#database.program,
      hashKey: (scope) => this.#turn(() => hashKeyOf(this.#database, scope)),
      told: (how) => this.onLoading(how),
      stopped,
      monotonicMs: this.#host.monotonicMs,
      working: this.#database.working,
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
  }

  /** Become a replica of its own, where that ends a refusal; not for ever. */
  async #forked(error: unknown): Promise<boolean> {
    const parting = partingOf(error);
    if (parting === null) return false;
    return await this.#turn(() => {
      const [forks] = this.#database.state("forks");
      const isKnown = this.#database.texts("replica", "device").some((name) => name !== "");
      if (whole(forks) >= FORKS_IN_A_ROW_MAX || !isKnown) return false;
      this.#database.connection.transaction(() => fork(this.#database, this.#host, parting));
      return true;
    });
  }

  /** A person asks for a sync: an identity of its own may be taken once more. */
  async beginAnew(): Promise<void> {
    await this.#turn(() => {
      const [forks] = this.#database.state("forks");
      if (whole(forks) > 0) this.#database.writeState({ forks: 0n });
    });
  }

  /** Take another server for the one from now on. The caller has the exchanger to itself (`alone`). */
  async acceptServer(): Promise<void> {
    await this.#turn(() => {
      this.#database.connection.transaction(() => accept(this.#database, this.#host));
    });
    this.#told.forget();
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
    let answer: SpooledAnswer;
    try {
      answer = await this.#transport.exchange(request);
    } catch (error) {
      if (notTaken(error) && firstNew !== null) await this.#turn(() => this.#takeBack(firstNew));
      throw await this.#toldApart(error);
    }
    const files = request.files === undefined ? null : answer.files();
    if (files === null) {
      try {
        const sent = request.transactions ?? [];
        const result = await this.#store.store(answer, request.nonce, sent, load);
        this.#told.heard(request.report ?? undefined, this.#store.notedUs);
        return result;
      } catch (error) {
        // Of a full disk nothing of the files stays: local work needs the space.
        if (error instanceof DatabaseFull) await clear(this.#keep).catch(() => undefined);
        if (!(error instanceof FileRefused)) throw error;
        load.refuse();
        return null;
      }
    }
    await this.#turn(() => this.#store.checkIdentity(answer.head, request.nonce));
    for (const scope of missed(answer.head)) load.missed.add(scope);
    this.#tidy = false;
    await load.take(answer.head, files);
    return null;
  }

  /** Ask for digests of ranges and the server's version of rows; take in its catch-up, and what has
   * become of transactions of which the answer was lost: its rows have them in them.
   * The caller has the exchanger to itself (`alone`). */
  async verify(ranges: readonly RangeQuery[], rows: readonly RowQuery[]): Promise<Exchanged> {
    try {
      return await this.#verify(ranges, rows);
    } catch (error) {
      if (!(await this.#forked(error))) throw error;
      await afterFork(() => this.#whole(this.#stopped.signal)); // what is offered again first
      return await afterFork(() => this.#verify(ranges, rows));
    }
  }

  async #verify(ranges: readonly RangeQuery[], rows: readonly RowQuery[]): Promise<Exchanged> {
    const request = await this.#turn((): VerifyRequest => {
      const { connection, bookkeeping } = this.#database;
      const [[first, last] = []] = connection.execute(bookkeeping.transactions.sent_span);
      const unanswered = typeof first === "bigint" && { first: whole(first), last: whole(last) };
      return {
        protocol: PROTOCOL,
        schema: this.#database.program.json.fingerprint,
        ...identityOf(this.#database),
        now: this.#host.nowUs(),
        checkpoint: checkpointOf(this.#database),
        ...(unanswered && { unanswered }),
        ranges,
        rows,
      };
    });
    const answer = await this.#transport.verify(request).catch(async (error: unknown) => {
      throw await this.#toldApart(error);
    });
    return await this.#store.store(answer, null, [], null);
  }

  /** A refusal as it concerns this schema; what it says of the server's is kept. */
  async #toldApart(error: unknown): Promise<unknown> {
    const theirs = serverGeneration(error);
    const database = this.#database;
    if (theirs !== null)
      await this.#turn(() => {
        database.connection.transaction(() => {
          database.writeState({ server_generation: BigInt(theirs) });
        });
      });
    const { name, generation } = database.program.json.schema;
    return toldApart(error, name, generation ?? 1);
  }

  /** Run this while no other exchange is under way. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  /** Make pending again what this attempt was the first to send and has not reached the server. */
  #takeBack(firstNew: number): void {
    this.#database.connection.transaction(() =>
      this.#database.connection.execute(this.#database.bookkeeping.transactions.take_back, [
        BigInt(firstNew),
      ]),
    );
  }

  /** Seal, choose what goes up, and store the proposed nonce before it is sent. With the request
   * comes the lowest number that was never sent before. */
  #prepare(load: Load): { readonly request: ExchangeRequest; readonly firstNew: number | null } {
    const database = this.#database;
    return database.connection.transaction(() => {
      const nowUs = this.#host.nowUs();
      seal(database, this.#host);
      const identity = identityOf(database);
      const [nonce = "", stored = ""] = database.texts("nonce", "next_nonce");
      const [confirmed, offset, error, verified] = database.state(
        "confirmed",
        "offset_us",
        "offset_error_us",
        "verified_us",
      );
      const [pending] = database.connection.execute(
        database.bookkeeping.transactions.first_pending,
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
        reportOf(database),
        typeof verified === "bigint" ? Number(verified) : null,
      );
      const measured = typeof offset === "bigint" && typeof error === "bigint";
      // Without stamps to correct it is told only together with the rest of what is to be shown.
      const showsOffset = measured && (lastSent > 0 || report !== null);
      const request: ExchangeRequest = {
        protocol: PROTOCOL,
        schema: database.program.json.fingerprint,
        ...identity,
        now: nowUs,
        checkpoint: { ...checkpointOf(database), ...load.positions },
        nonce: { since: nonce, to: proposed || nonce },
        ...(showsOffset ? { offset: { us: Number(offset), error_us: Number(error) } } : {}),
        ...(report === null ? {} : { report }),
        confirmed: whole(confirmed),
        ...(load.encodings.length > 0 ? { files: load.encodings } : {}),
        // Of scopes that only files bring, the keys are not here yet; and what is offered again may rest
        // on rows that the server has otherwise.
        ...(Object.keys(load.positions).length === 0 && identity.origin === undefined
          ? { brief: true }
          : {}),
        transactions,
      };
      return { request, firstNew };
    });
  }
}

/** Ask as who it is now. Taken for another one at once again, it backs off. */
async function afterFork<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof AttentionNeeded) || partingOf(error) === null) throw error;
    throw new SyncError(
      `the server does not recognise this replica yet: ${error.message}`,
      "identity_unsettled",
    );
  }
}

/** Return whether it is certain that the server has taken nothing of the request. */
function notTaken(error: unknown): boolean {
  return (
    error instanceof SignInNeeded ||
    error instanceof UpgradeNeeded ||
    error instanceof AttentionNeeded
  );
}
