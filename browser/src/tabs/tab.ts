/**
 * A tab's side of the one replica of its origin: the same verbs, carried out by whoever leads.
 *
 * Knows: how to ask, and to ask again of the next leader. Must not know: SQLite, or how to sync.
 * Nothing that was asked is forgotten when a leader is lost: reads are asked again, writes too, under
 * the number they had, so that they are done once (I35). A write is acknowledged when it is durable.
 */

import { ReplicaError, UsageError } from "../core/errors.js";
import { LEADER_SILENCE_MS } from "../core/limits.js";
import type { SessionConfig } from "../core/sessionEvents.js";
import { uuid7 } from "../core/ids.js";
import type { AppRow, QueryResult } from "../replica/appValues.js";
import { sameResult } from "../replica/appValues.js";
import type { HistoryEvent } from "../replica/identity/history.js";
import type { Freed } from "../replica/inbox/freeing.js";
import { HOST, randomHex } from "../replica/host.js";
import type { Conflict, Refused, Resolution } from "../replica/inbox/inbox.js";
import type { Statement, Transaction } from "../replica/changes/localWork.js";
import type { ReplicaProgram } from "../replica/storage/program.js";
import type { Status } from "../replica/storage/status.js";
import type { SyncReport } from "../replica/syncCall.js";
import type { VerifyReport } from "../replica/exchange/verify.js";
import {
  channels,
  errorOf,
  generationOf,
  locks,
  type News,
  type Order,
  type Reply,
  type Request,
} from "./messages.js";

export interface TabOptions {
  /** Names the replica within the origin: letters, digits, `-` and `_`. */
  readonly name: string;
  /** Left out: nothing is synced. */
  readonly server?: string;
  /** Left out: the browser's cookie for the server says who it is. */
  readonly token?: string;
  /** What this version of the app was made for: a replica of an older generation is migrated. Left out:
   * what is stored, or else what the server gives at the first open. */
  readonly program?: ReplicaProgram;
  /** Told once when the replica is of a newer generation than `program`: another tab runs a newer version
   * of the app. This one goes on reading; what it writes is refused (`replica_newer`) until it is loaded
   * again. */
  readonly outdated?: () => void;
  readonly session?: SessionConfig;
  /** A damaged replica is made anew at once, with all unsent work that can be read in it; the damaged file
   * is kept. Left out: opening one throws `DatabaseCorrupt`, with that work as text (`detail.work`, one
   * JSON object a line) and what was found (`detail.report`), for a person to save first. */
  readonly salvage?: boolean;
  /** Whether to ask the browser to keep the data for good (it is asked by default). */
  readonly persist?: boolean;
  /** Another way to make the worker, where the bundler needs one. */
  readonly worker?: () => Worker;
}

interface Asked {
  readonly request: Request;
  /** What happens to it when the leader is lost. */
  readonly again: boolean;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Subscription {
  readonly method: "subscribe" | "watchStatus";
  readonly args: readonly unknown[];
  readonly told: (value: unknown) => void;
}

export class TabReplica {
  readonly #name: string;
  readonly #client = randomHex(HOST, 12);
  readonly #worker: Worker;
  readonly #all: BroadcastChannel;
  readonly #own: BroadcastChannel;
  readonly #asked = new Map<number, Asked>();
  readonly #subscriptions = new Map<number, Subscription>();
  readonly #closed = new AbortController();
  readonly #generation: number | null;
  #outdated: () => void;
  #toLeader: BroadcastChannel | null = null;
  #leader = "";
  #heardAt = Date.now();
  #next = 1;
  readonly #watch: ReturnType<typeof setInterval>;

  private constructor(options: TabOptions) {
    this.#name = options.name;
    this.#generation = options.program === undefined ? null : generationOf(options.program);
    this.#outdated = options.outdated ?? (() => undefined);
    this.#all = new BroadcastChannel(channels.all(options.name));
    this.#own = new BroadcastChannel(channels.client(options.name, this.#client));
    this.#all.onmessage = ({ data }: MessageEvent<News>) => this.#heard(data);
    this.#own.onmessage = ({ data }: MessageEvent<Reply>) => this.#answered(data);
    this.#worker = (options.worker ?? ownWorker)();
    // Another tab's worker may lead; without any, nothing that is asked will ever be answered.
    this.#worker.onerror = () =>
      this.#failed(new ReplicaError("the worker cannot be loaded", "no_worker"));
    this.#watch = setInterval(() => this.#lookAtLeader(), LEADER_SILENCE_MS / 4);
  }

  /** Open the replica of this origin, together with all other tabs. Throws `ReplicaError`: `no_opfs`
   * where the browser cannot keep data, and what the leader failed with. */
  static async open(options: TabOptions): Promise<TabReplica> {
    if (!/^[A-Za-z0-9_-]{1,60}$/.test(options.name))
      throw new UsageError("a name has 1 to 60 letters, digits, - and _", "bad_name");
    if (typeof navigator === "undefined" || !("locks" in navigator))
      throw new ReplicaError(
        "this browser has no locks for tabs (a secure page is needed)",
        "no_locks",
      );
    const tab = new TabReplica(options);
    await tab.#begin(options);
    return tab;
  }

  async #begin(options: TabOptions): Promise<void> {
    // Held for as long as this page lives, so that a leader knows when it is gone.
    await new Promise<void>((held) => {
      void navigator.locks.request(locks.client(this.#name, this.#client), () => {
        held();
        return new Promise<void>((released) =>
          this.#closed.signal.addEventListener("abort", () => released()),
        );
      });
    });
    const candidacy = {
      name: options.name,
      server: options.server === undefined ? null : new URL(options.server, location.href).href,
      token: options.token ?? null,
      program: options.program ?? null,
      session: options.session ?? null,
      salvage: options.salvage ?? false,
    };
    this.#order({ type: "stand", candidacy });
    this.#all.postMessage({ type: "who" } satisfies News);
    try {
      await this.#ask("status", [], true);
    } catch (error) {
      this.close();
      throw error;
    }
    const hint = (): void => void this.#ask("hint", [], false).catch(() => undefined);
    const { signal } = this.#closed;
    globalThis.addEventListener("online", hint, { signal });
    globalThis.addEventListener("focus", hint, { signal });
    document.addEventListener("visibilitychange", hint, { signal });
    if (options.persist !== false) void this.#persist();
  }

  // --- local work --------------------------------------------------------------------------------

  /** Read from the local database. */
  query(sql: string, params: AppRow = []): Promise<QueryResult> {
    return this.#ask("query", [sql, params], true) as Promise<QueryResult>;
  }

  /** A query whose rows are told now and whenever they change, whoever leads; the answer ends it. */
  async subscribe(
    sql: string,
    params: AppRow,
    listener: (result: QueryResult) => void,
  ): Promise<() => void> {
    let last: QueryResult | null = null;
    return await this.#subscribe("subscribe", [sql, params], (value) => {
      const result = value as QueryResult;
      if (last !== null && sameResult(last, result)) return; // told again by the next leader
      last = result;
      listener(result);
    });
  }

  /** Statements as one local transaction: durable when this is answered, or undone on any error. */
  write(statements: readonly Statement[]): Promise<QueryResult[]> {
    return this.#ask("write", [statements], true) as Promise<QueryResult[]>;
  }

  /** A local transaction that may ask and decide in between; all other work waits for it. Throws
   * `ReplicaError` (`leader_lost`), with nothing changed, when the leader was lost on the way. */
  async transaction<T>(work: (tx: Transaction) => T | Promise<T>): Promise<T> {
    const number = (await this.#ask("begin", [], true)) as number;
    const tx: Transaction = {
      execute: (sql, params = []) =>
        this.#ask("execute", [number, sql, params], false) as Promise<QueryResult>,
    };
    let result: T;
    try {
      result = await work(tx);
    } catch (error) {
      await this.#ask("undo", [number], false).catch(() => undefined);
      throw error;
    }
    await this.#ask("commit", [number], true);
    return result;
  }

  /** A new key that sorts by time. */
  newId(): string {
    return uuid7(HOST.nowUs(), HOST.randomBytes);
  }

  /** The corrected time, µs since 1970. */
  nowUs(): Promise<number> {
    return this.#ask("nowUs", [], true) as Promise<number>;
  }

  /** The device's own clock, µs since 1970: for columns declared `corrected`, which the server shifts
   * when it takes the change. The corrected time would be shifted twice there. */
  deviceNowUs(): number {
    return HOST.nowUs();
  }

  // --- what a person sees ------------------------------------------------------------------------

  status(): Promise<Status> {
    return this.#ask("status", [], true) as Promise<Status>;
  }

  /** Told now and whenever something of it changes; the answer ends it. */
  watchStatus(watcher: (status: Status) => void): Promise<() => void> {
    return this.#subscribe("watchStatus", [], (value) => watcher(value as Status));
  }

  rowStatus(table: string, key: string): Promise<string> {
    return this.#ask("rowStatus", [table, key], true) as Promise<string>;
  }

  /** Take the server that answers now for the one of this replica from now on; returns the file as it
   * was, for a person to keep. */
  acceptServer(): Promise<Uint8Array> {
    return this.#ask("acceptServer", [], false) as Promise<Uint8Array>;
  }

  /** What has happened to this replica, oldest first: copied, restored, made anew, migrated. */
  history(): Promise<HistoryEvent[]> {
    return this.#ask("history", [], true) as Promise<HistoryEvent[]>;
  }

  conflicts(): Promise<Conflict[]> {
    return this.#ask("conflicts", [], true) as Promise<Conflict[]>;
  }

  refused(): Promise<Refused[]> {
    return this.#ask("refused", [], true) as Promise<Refused[]>;
  }

  async resolve(conflict: string, by: Resolution): Promise<void> {
    await this.#ask("resolve", [conflict, by], true);
  }

  retry(item: string): Promise<number[]> {
    return this.#ask("retry", [item], true) as Promise<number[]>;
  }

  discard(item: string): Promise<Freed> {
    return this.#ask("discard", [item], true) as Promise<Freed>;
  }

  ifDiscarded(item: string): Promise<Freed> {
    return this.#ask("ifDiscarded", [item], true) as Promise<Freed>;
  }

  // --- the network -------------------------------------------------------------------------------

  /** Exchange until nothing is pending and both sides compare equal. */
  sync(): Promise<SyncReport> {
    return this.#ask("sync", [], true) as Promise<SyncReport>;
  }

  verify(deep = true): Promise<VerifyReport> {
    return this.#ask("verify", [deep], true) as Promise<VerifyReport>;
  }

  async syncNow(): Promise<void> {
    await this.#ask("syncNow", [], true);
  }

  async pause(): Promise<void> {
    await this.#ask("pause", [], true);
  }

  async resume(): Promise<void> {
    await this.#ask("resume", [], true);
  }

  /** There is a new cookie. */
  async signedIn(): Promise<void> {
    await this.#ask("signedIn", [], true);
  }

  /** The whole replica as a SQLite file. */
  export(): Promise<Uint8Array> {
    return this.#ask("export", [], true) as Promise<Uint8Array>;
  }

  /** Leave: another tab's worker leads from here on, if this one's did. */
  close(): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    clearInterval(this.#watch);
    this.#order({ type: "resign" });
    for (const { reject } of this.#asked.values())
      reject(new UsageError("the replica is closed", "closed"));
    this.#asked.clear();
    for (const channel of [this.#all, this.#own, this.#toLeader]) channel?.close();
  }

  // --- inside ------------------------------------------------------------------------------------

  #order(order: Order): void {
    this.#worker.postMessage(order);
  }

  #ask(method: string, args: readonly unknown[], again: boolean): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed.signal.aborted) {
        reject(new UsageError("the replica is closed", "closed"));
        return;
      }
      const [client, generation] = [this.#client, this.#generation];
      const request: Request = { client, id: this.#next++, method, args, generation };
      this.#asked.set(request.id, { request, again, resolve, reject });
      this.#toLeader?.postMessage(request);
    });
  }

  async #subscribe(
    method: Subscription["method"],
    args: readonly unknown[],
    told: (value: unknown) => void,
  ): Promise<() => void> {
    const number = this.#next++;
    this.#subscriptions.set(number, { method, args, told });
    try {
      await this.#ask(method, [number, ...args], true);
    } catch (error) {
      this.#subscriptions.delete(number);
      throw error;
    }
    return () => {
      this.#subscriptions.delete(number);
      void this.#ask("unsubscribe", [number], false).catch(() => undefined);
    };
  }

  #heard(news: News): void {
    if (news.type === "who" || news.type === "hand_over") return;
    this.#heardAt = Date.now();
    if (news.type === "leader") {
      const own = this.#generation ?? news.generation;
      // Who leads for an older version hands over: what is asked here may be about what it has not.
      if (news.generation >= own && news.leader !== this.#leader) this.#follow(news.leader);
      if (news.generation > own) this.#isOutdated();
    }
    if (news.type === "failed") this.#failed(errorOf(news.error));
  }

  #isOutdated(): void {
    const told = this.#outdated;
    this.#outdated = () => undefined;
    told();
  }

  #failed(error: Error): void {
    if (this.#leader !== "") return;
    for (const [id, { reject }] of this.#asked) {
      this.#asked.delete(id);
      reject(error);
    }
  }

  /** There is a new leader: ask it what is still open, and subscribe again. */
  #follow(leader: string): void {
    const first = this.#leader === "";
    this.#leader = leader;
    this.#toLeader?.close();
    this.#toLeader = new BroadcastChannel(channels.leader(this.#name, leader));
    for (const [id, asked] of this.#asked) {
      if (first || asked.again) this.#toLeader.postMessage(asked.request);
      else {
        this.#asked.delete(id);
        asked.reject(new ReplicaError("the leader was lost; nothing was changed", "leader_lost"));
      }
    }
    if (!first)
      for (const [number, { method, args }] of this.#subscriptions)
        void this.#ask(method, [number, ...args], true).catch(() => undefined);
  }

  #answered(reply: Reply): void {
    if (reply.type === "told") {
      this.#subscriptions.get(reply.subscription)?.told(reply.value);
      return;
    }
    const asked = this.#asked.get(reply.id);
    this.#asked.delete(reply.id);
    if (reply.type === "answer") asked?.resolve(reply.value);
    else asked?.reject(errorOf(reply.error));
  }

  /** A leader that has been silent for long, though something was asked, is replaced. */
  #lookAtLeader(): void {
    const silentMs = Date.now() - this.#heardAt;
    if (silentMs < LEADER_SILENCE_MS / 2) return;
    if (silentMs < LEADER_SILENCE_MS || this.#asked.size === 0) {
      this.#all.postMessage({ type: "who" } satisfies News);
      return;
    }
    this.#heardAt = Date.now();
    this.#order({ type: "steal" });
  }

  async #persist(): Promise<void> {
    try {
      const kept = (await navigator.storage.persisted()) || (await navigator.storage.persist());
      await this.#ask("setPersisted", [kept], true);
    } catch {
      // A browser that does not say keeps the status at "not known".
    }
  }
}

function ownWorker(): Worker {
  return new Worker(new URL("../worker.js", import.meta.url), { type: "module", name: "holdfast" });
}

/** Open the replica of this origin in a tab. */
export function openReplica(options: TabOptions): Promise<TabReplica> {
  return TabReplica.open(options);
}
