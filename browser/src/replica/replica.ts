/**
 * `Replica`: an app's local database that syncs; the whole of it, in one thread.
 *
 * Knows: how the parts fit together. Must not know: what is inside them, or that there are tabs.
 * Local reads and writes never wait for the network. A write is acknowledged when it is committed.
 */

import { DatabaseCorrupt, HoldfastError, UsageError } from "../core/errors.js";
import { uuid7 } from "../core/ids.js";
import { TRANSACTION_IDLE_MS } from "../core/limits.js";
import { SESSION_CONFIG, type SessionConfig } from "../core/sessionEvents.js";
import type { Opened } from "../sqlite/open.js";
import type { AppRow, QueryResult } from "./appValues.js";
import { LocalDatabase } from "./storage/database.js";
import { Exchanger } from "./exchange/exchanger.js";
import { type Freed, Freeing } from "./inbox/freeing.js";
import { HOST, type Host } from "./host.js";
import { type HistoryEvent, readHistory } from "./identity/history.js";
import { type Conflict, Inbox, type Refused, type Resolution } from "./inbox/inbox.js";
import { type Listener, LiveQueries } from "./liveQueries.js";
import { LocalWork, type Statement, type Transaction } from "./changes/localWork.js";
import type { ReplicaProgram } from "./storage/program.js";
import { ProgressSignal } from "./progressSignal.js";
import { Runner } from "./runner.js";
import { seal, sealLong } from "./changes/seal.js";
import {
  atRest,
  carriedOver,
  failed,
  isStuck,
  succeeded,
  toKeep,
  withoutTime,
} from "./storage/connectionRecord.js";
import { hasWork, type Known, type Status } from "./storage/status.js";
import { type SyncReport, syncToEnd } from "./syncCall.js";
import { Notifier } from "./notifier.js";
import type { Transport } from "./http/transport.js";
import { type MutexTurn, Mutex } from "./mutex.js";
import { Verifier, type VerifyReport } from "./exchange/verify.js";

export interface ReplicaOptions {
  readonly opened: Opened;
  /** Needed once, to make the replica; later only to bring a newer one. */
  readonly program: ReplicaProgram | null;
  readonly transport: Transport | null;
  /** What the status says of the server. */
  readonly server?: string;
  readonly host?: Host;
  readonly session?: SessionConfig;
  readonly transactionIdleMs?: number;
  /** Told every two seconds at most while long work goes on, in which no timer runs. */
  readonly onWorking?: () => void;
}

/** What is remembered beside the data when a person wants to stay offline. */
const PAUSED = "paused";
/** What is remembered of a failure that no success has followed yet. */
const STANDING = "standing";

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #host: Host;
  readonly #database: LocalDatabase;
  readonly #turns = new Mutex();
  readonly #inbox: Inbox;
  readonly #freeing: Freeing;
  readonly #live: LiveQueries;
  readonly #local: LocalWork;
  readonly #telling: Notifier;
  readonly #exchanger: Exchanger | null;
  readonly #verifier: Verifier | null;
  #runner: Runner | null = null;
  #known: Known;
  #closed = false;

  /** Open a replica, or make one. Throws `ReplicaError`, `SchemaError` or `DatabaseError`; opening
   * never uses the network. */
  static open(options: ReplicaOptions): Replica {
    const host = options.host ?? HOST;
    const { beat } = new ProgressSignal(host.monotonicMs, options.onWorking ?? (() => undefined));
    const toEnd = (old: LocalDatabase): void => void seal(old, host);
    const { opened, program } = options;
    const database = LocalDatabase.open(opened.connection, program, toEnd, beat, host);
    return new Replica(options, database);
  }

  private constructor(options: ReplicaOptions, database: LocalDatabase) {
    this.#options = options;
    this.#host = options.host ?? HOST;
    this.#database = database;
    this.#inbox = new Inbox(this.#database);
    this.#freeing = new Freeing(this.#database, this.#inbox, (replaces) =>
      seal(this.#database, this.#host, replaces),
    );
    this.#live = new LiveQueries(options.opened.connection);
    const { transport } = options;
    const turn: MutexTurn = (work) => this.#take(work);
    this.#local = new LocalWork({
      database: this.#database,
      host: this.#host,
      turn,
      idleMs: options.transactionIdleMs ?? TRANSACTION_IDLE_MS,
      onCommitted: () => {
        if (!this.#closed) this.#runner?.send({ type: "local_write" });
        this.#telling.changed();
      },
    });
    this.#telling = new Notifier({
      database: this.#database,
      live: this.#live,
      host: this.#host,
      server: options.server ?? "",
      turn: (work) => this.#turns.take(work),
    });
    this.#known = atRest(this.#database.recall(STANDING));
    this.#telling.say(this.#known);
    this.#exchanger =
      transport && new Exchanger(this.#database, options.opened.keep, transport, this.#host, turn);
    if (this.#exchanger !== null) {
      this.#exchanger.onSent = () => this.#telling.changed();
      this.#exchanger.onLoading = (loading) => {
        if (loading !== null) {
          const { stage, done, total } = loading;
          this.#runner?.send({ type: "advanced", stage, done, total });
        }
        this.#telling.load(loading);
      };
    }
    this.#verifier =
      this.#exchanger && new Verifier(this.#database, this.#exchanger, this.#host, turn);
  }

  // --- local work --------------------------------------------------------------------------------

  get program(): ReplicaProgram {
    return this.#database.program.json;
  }

  /** Read from the local database. Throws `UsageError` (`not_a_query`) for a statement that writes. */
  query(sql: string, params: AppRow = []): Promise<QueryResult> {
    return this.#local.query(sql, params);
  }

  /** A query whose rows are told now and whenever they change; the answer ends it. */
  subscribe(sql: string, params: AppRow, listener: Listener): Promise<() => void> {
    return this.#take(() => {
      this.#local.mustRead(sql);
      return this.#live.add(sql, params, listener);
    });
  }

  /**
   * Statements as one local transaction: committed and tracked, or undone on any error. `once`: an id
   * of the request; with an id that was carried out before, nothing is done and that answer given.
   */
  write(statements: readonly Statement[], once?: string): Promise<QueryResult[]> {
    const all = (): QueryResult[] =>
      statements.map(({ sql, params }) => this.#local.execute(sql, params));
    return this.#local.commit(all, once);
  }

  /**
   * A local transaction that may ask and decide in between. All other work waits for it, so it must
   * not wait for other work of this replica; if it does nothing for ten seconds it is undone.
   */
  transaction<T>(work: (tx: Transaction) => T | Promise<T>, once?: string): Promise<T> {
    return this.#local.transaction(work, once);
  }

  /** Make what was written ready to be sent, as the next exchange does first: for an idle moment. */
  seal(): Promise<void> {
    return this.#take(() => {
      this.#database.connection.transaction(() => seal(this.#database, this.#host));
    });
  }

  /** Return whether a request with this id has been carried out. */
  wasDone(once: string): Promise<boolean> {
    return this.#local.wasDone(once);
  }

  /** The corrected time: the device's clock and its measured offset, µs since 1970. */
  nowUs(): Promise<number> {
    return this.#take(() => this.#nowUs());
  }

  /** The device's own clock, µs since 1970: for columns declared `corrected`, which the server shifts
   * when it takes the change. The corrected time would be shifted twice there. */
  deviceNowUs(): number {
    return this.#host.nowUs();
  }

  /** A new key that sorts by time. */
  newId(): string {
    return uuid7(this.#host.nowUs(), this.#host.randomBytes);
  }

  // --- what a person sees ------------------------------------------------------------------------

  /** The truth of this moment, without the network. */
  status(): Promise<Status> {
    return this.#take(() => this.#telling.status());
  }

  /** Told now and whenever something of it changes; the answer ends it. */
  async watchStatus(watcher: (status: Status) => void): Promise<() => void> {
    watcher(await this.status());
    return this.#telling.watch(watcher);
  }

  /** `synced`, `pending`, `sent`, `held`, `refused` or `conflict`; `unknown` for no such row. */
  rowStatus(table: string, key: string): Promise<string> {
    return this.#take(() => {
      sealLong(this.#database, this.#host);
      const { connection, program } = this.#database;
      const known = program.byName.get(table);
      if (known === undefined) return "unknown";
      const [row] = connection.execute(program.statements(known).row_state, [key]);
      return row === undefined ? "unknown" : String(row[0]);
    });
  }

  /** What has happened to this replica, oldest first: copied, restored, made anew, migrated. */
  history(): Promise<HistoryEvent[]> {
    return this.#take(() => readHistory(this.#database));
  }

  conflicts(): Promise<Conflict[]> {
    return this.#take(() => this.#inbox.conflicts());
  }

  refused(): Promise<Refused[]> {
    return this.#take(() => this.#inbox.refused());
  }

  /** Settle a conflict, offline too. Throws `UsageError` or `BadValue`. */
  async resolve(conflict: string, by: Resolution, once?: string): Promise<void> {
    await this.#local.commit(() => {
      this.#inbox.settle(conflict, by, this.#nowUs());
      return [];
    }, once);
  }

  /** Make a refused transaction again on the rows as they are now, and after it those that were held
   * with it; returns the new numbers. Throws `UsageError` or `ConstraintFailed`: nothing is changed. */
  async retry(item: string, once?: string): Promise<number[]> {
    const [result] = await this.#local.commit(() => {
      const number = this.#inbox.waiting(item);
      this.#inbox.writeAgain(number);
      const sealed = seal(this.#database, this.#host, number);
      this.#inbox.forget(number);
      const { made } = this.#freeing.after(number);
      const numbers = sealed === null ? made : [sealed, ...made];
      return [{ columns: ["number"], rows: numbers.map((one) => [one]) }];
    }, once);
    return (result?.rows ?? []).map(([number]) => Number(number));
  }

  /** Give a refused or held transaction up; what was held because of it goes on by itself, where it
   * can. Throws `UsageError` (`no_refused`). */
  async discard(item: string, once?: string): Promise<Freed> {
    const [result] = await this.#local.commit(() => {
      const freed = JSON.stringify(this.#giveUp(item));
      return [{ columns: ["freed"], rows: [[freed]] }];
    }, once);
    return JSON.parse(String(result?.rows[0]?.[0])) as Freed;
  }

  /** Return what `discard` would let go on, and what would stay in the inbox and why; nothing is changed. */
  ifDiscarded(item: string): Promise<Freed> {
    return this.#take(() => {
      const asked = new OnlyAsked();
      try {
        this.#database.connection.transaction(() => {
          asked.freed = this.#giveUp(item);
          throw asked;
        });
      } catch (error) {
        if (error !== asked) throw error;
      }
      return asked.freed;
    });
  }

  #giveUp(item: string): Freed {
    const number = this.#inbox.waiting(item);
    this.#inbox.forget(number);
    return this.#freeing.after(number);
  }

  // --- the network -------------------------------------------------------------------------------

  /** Exchange until nothing is pending and both sides compare equal. Throws the `SyncError` tree
   * after the first attempt that fails; pending work is kept. */
  async sync(): Promise<SyncReport> {
    const { exchanger, verifier } = this.#network();
    try {
      await exchanger.beginAnew();
      const report = await syncToEnd(exchanger, verifier, () => this.#telling.changed());
      if (this.#runner === null) this.#say(succeeded(this.#host.nowUs()));
      this.#runner?.send({ type: "synced" });
      return report;
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  /** Take the server that answers now for the one of this replica from now on, where it is another one
   * (`another_server`): a person's decision. Uses no network.
   *
   * Returns the file as it was, for the person to keep. At the next sync what is not sent, and what is
   * kept of acknowledged work, is offered to that server, and its rows are loaded: rows that it lacks
   * leave the replica. Throws `UsageError` (`no_server`). */
  async acceptServer(): Promise<Uint8Array> {
    const { exchanger } = this.#network();
    return await exchanger.alone(async () => {
      const image = await this.export();
      await exchanger.acceptServer();
      if (this.#runner === null) this.#say(succeeded(this.#host.nowUs()));
      this.#telling.changed();
      return image;
    });
  }

  /** Check the stored rows, compare with the server, repair what differs. */
  async verify(deep = true): Promise<VerifyReport> {
    const { verifier } = this.#network();
    try {
      const report = await verifier.verify(deep);
      // It sends nothing, so that the replica is a copy is not over by it.
      if (this.#runner === null && !isStuck(this.#known)) this.#say(succeeded(this.#host.nowUs()));
      this.#telling.changed();
      return report;
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  /** Sync in the background, until `stop` or `close`. */
  async start(): Promise<void> {
    const { exchanger, verifier } = this.#network();
    if (this.#runner !== null || this.#options.transport === null) return;
    this.#runner = new Runner({
      exchanger,
      verifier,
      transport: this.#options.transport,
      host: this.#host,
      config: this.#options.session ?? SESSION_CONFIG,
      onStatus: (known) => this.#say(carriedOver(this.#known, known)),
      onStored: () => this.#telling.changed(),
    });
    const [paused, work] = await this.#take(() => [
      this.#database.recall(PAUSED) === "yes",
      hasWork(this.#database),
    ]);
    if (paused) this.#runner.send({ type: "pause" });
    this.#runner.start(Number(work));
  }

  /** The network may have changed, or a person asks to sync now. */
  syncNow(): void {
    this.#runner?.send({ type: "platform_hint" });
    this.#runner?.send({ type: "server_moved" });
  }

  /** Look whether the server is there, for something on the platform says so. */
  hint(): void {
    this.#runner?.send({ type: "platform_hint" });
  }

  /** Exchange nothing in the background until `resume`: remembered in the file, so that it holds for
   * whoever leads next, and from the first moment on when it is opened again. A load that is under way
   * ends, and later goes on where it was; only an import, which asks for nothing more, is finished. */
  async pause(): Promise<void> {
    this.#runner?.send({ type: "pause" });
    if (!this.#telling.isImporting) this.#exchanger?.interrupt();
    await this.#take(() => this.#database.remember(PAUSED, "yes"));
  }

  async resume(): Promise<void> {
    this.#runner?.send({ type: "resume" }); // first: also a full disk lets it go on
    await this.#take(() => this.#database.remember(PAUSED, ""));
  }

  /** There is a new token or cookie. */
  signedIn(): void {
    this.#runner?.send({ type: "signed_in" });
  }

  /** Whether the browser keeps the data for good: asked by a page, as a worker cannot. */
  setPersisted(persisted: boolean): void {
    this.#telling.persisted(persisted);
  }

  /** The whole replica as a SQLite file. */
  export(): Promise<Uint8Array> {
    return this.#take(() => this.#database.connection.serialize());
  }

  /** Stop syncing and close the database. Pending work stays in it. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#exchanger?.interrupt();
    this.#options.transport?.close();
    await this.#runner?.stop();
    // What a person's sync has begun may still have files open.
    await this.#exchanger?.alone(() => Promise.resolve());
    await this.#turns.take(() => {
      this.#closed = true;
      this.#telling.end();
      this.#options.opened.close();
    });
  }

  // --- inside ------------------------------------------------------------------------------------

  /** A person's own sync or verification has failed; background sync finds out by itself. */
  #failed(error: unknown): void {
    if (this.#runner === null && error instanceof HoldfastError)
      this.#say(failed(error, this.#host.nowUs()));
  }

  /** Something else is known of the connection: told, and remembered for whoever leads next. */
  #say(known: Known): void {
    const [before, now] = [toKeep(this.#known), toKeep(known)];
    this.#known = known;
    this.#telling.say(known);
    if (this.#closed || withoutTime(before) === withoutTime(now)) return;
    this.#take(() => this.#database.remember(STANDING, now)).catch((error: unknown) => {
      console.warn("the connection status could not be stored", error); // a full disk, or it closes
    });
  }

  #take<T>(work: () => T | Promise<T>): Promise<T> {
    return this.#turns.take(async () => {
      if (this.#closed) throw new UsageError("the replica is closed", "closed");
      try {
        return await work();
      } catch (error) {
        if (error instanceof DatabaseCorrupt) this.#options.opened.suspect();
        throw error;
      }
    });
  }

  #nowUs(): number {
    const [offset] = this.#database.state("offset_us");
    return this.#host.nowUs() + (typeof offset === "bigint" ? Number(offset) : 0);
  }

  #network(): { readonly exchanger: Exchanger; readonly verifier: Verifier } {
    if (this.#exchanger === null || this.#verifier === null)
      throw new UsageError("this replica has no server: open it with one", "no_server");
    return { exchanger: this.#exchanger, verifier: this.#verifier };
  }
}

/** Undoes a transaction that was made to see what it does. */
class OnlyAsked extends Error {
  freed: Freed = { numbers: [], kept: [], made: [] };
}
