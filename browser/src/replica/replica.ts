/**
 * `Replica`: an app's local database that syncs; the whole of it, in one thread.
 *
 * Knows: how the parts fit together. Must not know: what is inside them, or that there are tabs.
 * Local reads and writes never wait for the network. A write is acknowledged when it is committed.
 */

import { HoldfastError, SyncError, UsageError } from "../core/errors.js";
import { uuid7 } from "../core/ids.js";
import { TELL_AFTER_MS, TELL_PAUSE_MS_MAX, TRANSACTION_IDLE_MS } from "../core/limits.js";
import { SESSION_CONFIG, type SessionConfig } from "../core/sessionEvents.js";
import type { Opened } from "../sqlite/open.js";
import {
  type AppRow,
  appRows,
  type QueryResult,
  resultFromJson,
  resultToJson,
  toStorage,
} from "./appValues.js";
import { LocalDatabase } from "./database.js";
import { type Exchanged, Exchanger, progressed, reconciles, type Turn } from "./exchange.js";
import { failureKind, stateAfter } from "./failures.js";
import { HOST, type Host } from "./host.js";
import { type Conflict, Inbox, type Refused, type Resolution } from "./inbox.js";
import { aside, type Listener, LiveQueries } from "./liveQueries.js";
import type { ReplicaProgram } from "./program.js";
import { Runner } from "./runner.js";
import { mark, seal, sealLong } from "./seal.js";
import { hasWork, type Known, type Loading, readStatus, type Status, UNKNOWN } from "./status.js";
import type { Transport } from "./transport.js";
import { Turns } from "./turns.js";
import { Verifier, type VerifyReport } from "./verify.js";

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
}

export interface Statement {
  readonly sql: string;
  readonly params?: AppRow;
}

/** An open local transaction: one unit of sync. */
export interface Transaction {
  execute(sql: string, params?: AppRow): Promise<QueryResult>;
}

/** What a sync did. `verified`: client and server compared equal at the end. */
export interface SyncReport {
  readonly sent: number;
  readonly applied: number;
  readonly refused: number;
  readonly held: number;
  readonly receivedRows: number;
  readonly removedRows: number;
  readonly repairedRows: number;
  /** Rows that were compared because the device had been away for longer than the server remembers
   * removals. */
  readonly reconciledRows: number;
  readonly exchanges: number;
  readonly verified: boolean;
}

/** What is remembered beside the data when a person wants to stay offline. */
const PAUSED = "paused";
const REQUESTS_KEPT_US = 3_600_000_000;
const REQUESTS_FORGOTTEN_EVERY_US = 300_000_000;

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #host: Host;
  readonly #database: LocalDatabase;
  readonly #turns = new Turns();
  readonly #inbox: Inbox;
  readonly #live: LiveQueries;
  readonly #exchanger: Exchanger | null;
  readonly #verifier: Verifier | null;
  readonly #watchers = new Set<(status: Status) => void>();
  #runner: Runner | null = null;
  #known: Known = UNKNOWN;
  #persisted: boolean | null = null;
  #isChanged = false;
  #isTelling = false;
  #tellPauseMs = 0;
  #forgotAtUs = 0;
  #loading: Loading | null = null;
  /** The status as it was when an import began: until it ends, nobody can change what it counts. */
  #before: Status | null = null;
  #closed = false;

  /** Open a replica, or make one. Throws `ReplicaError`, `SchemaError` or `DatabaseError`; opening
   * never uses the network. */
  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#host = options.host ?? HOST;
    this.#database = new LocalDatabase(options.opened.connection, options.program);
    this.#inbox = new Inbox(this.#database);
    this.#live = new LiveQueries(options.opened.connection);
    const { transport } = options;
    const turn: Turn = (work) => this.#take(work);
    this.#exchanger =
      transport && new Exchanger(this.#database, options.opened.keep, transport, this.#host, turn);
    if (this.#exchanger !== null) {
      this.#exchanger.onSent = () => this.#committed(false);
      this.#exchanger.onLoading = (loading) => this.#load(loading);
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
    return this.#take(() => {
      this.#mustRead(sql);
      const { names, rows } = this.#database.connection.columns(sql, params.map(toStorage));
      return { columns: names, rows: appRows(rows) };
    });
  }

  /** A query whose rows are told now and whenever they change; the answer ends it. */
  subscribe(sql: string, params: AppRow, listener: Listener): Promise<() => void> {
    return this.#take(() => {
      this.#mustRead(sql);
      return this.#live.add(sql, params, listener);
    });
  }

  /**
   * Statements as one local transaction: committed and tracked, or undone on any error. `once`: an id
   * of the request; with an id that was carried out before, nothing is done and that answer given.
   */
  write(statements: readonly Statement[], once?: string): Promise<QueryResult[]> {
    return this.#commit(() => statements.map((one) => this.#execute(one.sql, one.params)), once);
  }

  /**
   * A local transaction that may ask and decide in between. All other work waits for it, so it must
   * not wait for other work of this replica; if it does nothing for ten seconds it is undone.
   */
  async transaction<T>(work: (tx: Transaction) => T | Promise<T>, once?: string): Promise<T> {
    return await this.#take(async () => {
      const { connection } = this.#database;
      const idle = new Idle(this.#options.transactionIdleMs ?? TRANSACTION_IDLE_MS);
      connection.execute("BEGIN IMMEDIATE");
      let open = true;
      const tx: Transaction = {
        // Asynchronous although it is not: in a tab the same call is.
        execute: (sql, params = []) => {
          idle.touch();
          if (!open) throw new UsageError("the transaction has ended", "transaction_ended");
          return Promise.resolve(this.#execute(sql, params));
        },
      };
      try {
        const result = await Promise.race([Promise.resolve().then(() => work(tx)), idle.over]);
        if (once !== undefined) this.#note(once, []);
        mark(this.#database, this.#host);
        connection.execute("COMMIT");
        this.#committed(true);
        return result;
      } catch (error) {
        connection.rollback();
        throw error;
      } finally {
        open = false;
        idle.end();
      }
    });
  }

  /** Make what was written ready to be sent, as the next exchange does first: for an idle moment. */
  seal(): Promise<void> {
    return this.#take(() => {
      this.#database.connection.transaction(() => seal(this.#database, this.#host));
    });
  }

  /** Whether a request with this id has been carried out. */
  wasDone(once: string): Promise<boolean> {
    return this.#take(() => this.#answered(once) !== null);
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
    return this.#take(() => this.#status());
  }

  /** Told now and whenever something of it changes; the answer ends it. */
  async watchStatus(watcher: (status: Status) => void): Promise<() => void> {
    watcher(await this.status());
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** `synced`, `pending`, `sent`, `held`, `refused` or `conflict`; `unknown` for no such row. */
  rowStatus(table: string, key: string): Promise<string> {
    return this.#take(() => {
      sealLong(this.#database, this.#host);
      const [row] = this.#database.connection.execute(
        "SELECT state FROM holdfast_row_status WHERE tbl = ? AND key = ?",
        [table, key],
      );
      return row === undefined ? "unknown" : String(row[0]);
    });
  }

  conflicts(): Promise<Conflict[]> {
    return this.#take(() => this.#inbox.conflicts());
  }

  refused(): Promise<Refused[]> {
    return this.#take(() => this.#inbox.refused());
  }

  /** Settle a conflict, offline too. Throws `UsageError` or `BadValue`. */
  async resolve(conflict: string, by: Resolution, once?: string): Promise<void> {
    await this.#commit(() => {
      this.#inbox.settle(conflict, by, this.#nowUs());
      return [];
    }, once);
  }

  /** Make a refused transaction again on the rows as they are now, and after it those that were held
   * with it; returns the new numbers. Throws `UsageError` or `ConstraintFailed`: nothing is changed. */
  async retry(item: string, once?: string): Promise<number[]> {
    const [result] = await this.#commit(() => {
      const number = this.#inbox.waiting(item);
      const made: number[] = [];
      for (const again of [number, ...this.#inbox.dependants(number)]) {
        this.#inbox.writeAgain(again);
        const sealed = seal(this.#database, this.#host, again);
        this.#inbox.forget(again);
        if (sealed !== null) made.push(sealed);
      }
      return [{ columns: ["number"], rows: made.map((one) => [one]) }];
    }, once);
    return (result?.rows ?? []).map(([number]) => Number(number));
  }

  /** Give a refused or held transaction up. Throws `UsageError` (`no_refused`). */
  async discard(item: string, once?: string): Promise<void> {
    await this.#commit(() => {
      this.#inbox.forget(this.#inbox.waiting(item));
      return [];
    }, once);
  }

  // --- the network -------------------------------------------------------------------------------

  /** Exchange until nothing is pending and both sides compare equal. Throws the `SyncError` tree
   * after the first attempt that fails; pending work is kept. */
  async sync(): Promise<SyncReport> {
    const { exchanger, verifier } = this.#network();
    try {
      const report = await this.#sync(exchanger, verifier);
      if (this.#runner === null) this.#say({ ...UNKNOWN, state: "online" });
      this.#runner?.send({ type: "synced" });
      return report;
    } catch (error) {
      if (this.#runner === null && error instanceof HoldfastError)
        this.#say({
          ...UNKNOWN,
          state: stateAfter(error),
          errorKind: failureKind(error),
          errorCode: error.code,
          errorMessage: error.message,
        });
      throw error;
    }
  }

  async #sync(exchanger: Exchanger, verifier: Verifier): Promise<SyncReport> {
    const total = { sent: 0, applied: 0, refused: 0, held: 0, receivedRows: 0, removedRows: 0 };
    let exchanges = 0;
    let done: Exchanged;
    do {
      done = await exchanger.exchange();
      this.#committed(false);
      exchanges += 1;
      total.sent += done.sent;
      total.applied += done.applied.applied;
      total.refused += done.applied.refused;
      total.held += done.applied.held;
      total.receivedRows += done.applied.rows;
      total.removedRows += done.applied.removed;
      if (done.left > 0 && !progressed(done))
        throw new SyncError("the server does not decide what it was sent", "no_progress");
    } while (done.left > 0);
    const report = { ...total, repairedRows: 0, reconciledRows: 0, exchanges, verified: true };
    if (done.applied.differing.length === 0) return report;
    const fixed = await verifier.verify(false);
    this.#committed(false);
    const counted = reconciles(done) ? "reconciledRows" : "repairedRows";
    return { ...report, [counted]: fixed.repaired, verified: fixed.ok };
  }

  /** Check the stored rows, compare with the server, repair what differs. */
  async verify(deep = true): Promise<VerifyReport> {
    const report = await this.#network().verifier.verify(deep);
    this.#committed(false);
    return report;
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
      onStatus: (known) => this.#say(known),
      onStored: () => this.#committed(false),
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
    if (this.#loading?.stage !== "importing") this.#exchanger?.interrupt();
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
    this.#persisted = persisted;
    this.#tell();
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
      this.#watchers.clear();
      this.#options.opened.close();
    });
  }

  // --- inside ------------------------------------------------------------------------------------

  #take<T>(work: () => T | Promise<T>): Promise<T> {
    return this.#turns.take(() => {
      if (this.#closed) throw new UsageError("the replica is closed", "closed");
      return work();
    });
  }

  #commit(work: () => QueryResult[], once: string | undefined): Promise<QueryResult[]> {
    return this.#take(() => {
      const done = once === undefined ? null : this.#answered(once);
      if (done !== null) return done;
      const result = this.#database.connection.transaction(() => {
        const answer = work();
        if (once !== undefined) this.#note(once, answer);
        mark(this.#database, this.#host);
        return answer;
      });
      this.#committed(true);
      return result;
    });
  }

  #execute(sql: string, params: AppRow = []): QueryResult {
    // A COMMIT of the app's would end the transaction before it is tracked.
    if (
      /^\s*(?:begin|commit|end|rollback|savepoint|release|pragma|attach|detach|vacuum)\b/i.test(sql)
    )
      throw new UsageError("transactions and settings are the replica's", "not_allowed");
    const { names, rows } = this.#database.connection.columns(sql, params.map(toStorage));
    return { columns: names, rows: appRows(rows) };
  }

  #mustRead(sql: string): void {
    if (!this.#database.connection.inspect(sql).readOnly)
      throw new UsageError("a query only reads; write in a transaction", "not_a_query");
  }

  #answered(once: string): QueryResult[] | null {
    const [row] = this.#database.connection.execute(
      "SELECT answer FROM holdfast_request WHERE id = ?",
      [once],
    );
    return row === undefined ? null : resultFromJson(String(row[0]));
  }

  #note(once: string, answer: readonly QueryResult[]): void {
    const nowUs = this.#host.nowUs();
    const { connection } = this.#database;
    // Now and then: it reads them all.
    if (Math.abs(nowUs - this.#forgotAtUs) > REQUESTS_FORGOTTEN_EVERY_US) {
      this.#forgotAtUs = nowUs;
      connection.execute("DELETE FROM holdfast_request WHERE at < ?", [
        BigInt(nowUs - REQUESTS_KEPT_US),
      ]);
    }
    connection.execute("INSERT INTO holdfast_request (id, at, answer) VALUES (?, ?, ?)", [
      once,
      BigInt(nowUs),
      resultToJson(answer),
    ]);
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

  #committed(local: boolean): void {
    if (this.#closed) return;
    if (local) this.#runner?.send({ type: "local_write" });
    this.#isChanged = true;
    this.#tell();
  }

  #say(known: Known): void {
    this.#known = known;
    this.#tell();
  }

  #load(loading: Loading | null): void {
    this.#loading = loading;
    if (loading?.stage !== "importing") {
      this.#before = null;
      this.#tell();
      return;
    }
    // The import has the turn: the status is read before it begins, and told again as it goes on.
    this.#before ??= this.#status();
    const status = { ...this.#before, ...this.#shown(), loading };
    for (const watcher of [...this.#watchers]) aside(() => watcher(status));
  }

  /**
   * Tell live queries and watchers, soon and once for all that happens until then: whoever wrote has
   * its answer first, a burst of writes does not wait for every query after each of them, and telling
   * takes half of the time at most. In a turn of its own: what is told must not be in the middle of
   * somebody's transaction.
   */
  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    const pauseMs = Math.max(TELL_AFTER_MS, this.#tellPauseMs);
    setTimeout(() => void this.#turns.take(() => this.#tellNow()), pauseMs);
  }

  #tellNow(): void {
    this.#isTelling = false;
    if (this.#closed) return;
    const beginMs = this.#host.monotonicMs();
    if (this.#isChanged) this.#live.committed();
    this.#isChanged = false;
    if (this.#watchers.size > 0) {
      const status = this.#status();
      for (const watcher of [...this.#watchers]) aside(() => watcher(status));
    }
    this.#tellPauseMs = Math.min(this.#host.monotonicMs() - beginMs, TELL_PAUSE_MS_MAX);
  }

  #status(): Status {
    sealLong(this.#database, this.#host);
    return readStatus(this.#database, this.#shown(), {
      server: this.#options.server ?? "",
      persisted: this.#persisted,
      loading: this.#loading,
    });
  }

  /** What is known of the connection, as a person is to see it: who loads syncs, and who has paused has
   * paused. That a load ended for the pause is no error. */
  #shown(): Known {
    const { state, errorCode } = this.#known;
    if (state === "paused")
      return errorCode === "interrupted"
        ? { ...this.#known, errorCode: null, errorMessage: null }
        : this.#known;
    return this.#loading === null ? this.#known : { ...this.#known, state: "syncing" };
  }
}

/** Fails when nothing has happened for a while. */
class Idle {
  readonly #limitMs: number;
  readonly over: Promise<never>;
  #fail: (error: Error) => void = () => undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
    this.over = new Promise<never>((_, reject) => (this.#fail = reject));
    this.over.catch(() => undefined);
    this.touch();
  }

  touch(): void {
    clearTimeout(this.#timer);
    const error = new UsageError(
      "the transaction was left open and has been undone",
      "transaction_idle",
    );
    this.#timer = setTimeout(() => this.#fail(error), this.#limitMs);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
