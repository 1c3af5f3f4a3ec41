/**
 * What an app does with its tables: plain SQL, and local transactions that become units of sync.
 *
 * Knows: statements of an app, and when they are committed. Must not know: the network, or what a write
 * will look like on its way. Upholds I2 (what is written is marked for sync in its own commit, or undone).
 */

import { UsageError } from "../../core/errors.js";
import { type AppRow, appRows, type QueryResult, toStorage } from "../appValues.js";
import type { LocalDatabase } from "../storage/database.js";
import type { Host } from "../host.js";
import { CompletedRequests } from "../storage/completedRequests.js";
import { mark } from "./seal.js";
import type { MutexTurn } from "../mutex.js";

export interface Statement {
  readonly sql: string;
  readonly params?: AppRow;
}

/** An open local transaction: one unit of sync. */
export interface Transaction {
  execute(sql: string, params?: AppRow): Promise<QueryResult>;
}

export interface LocalWorkParts {
  readonly database: LocalDatabase;
  readonly host: Host;
  readonly turn: MutexTurn;
  /** A transaction that does nothing for so long is undone. */
  readonly idleMs: number;
  readonly onCommitted: () => void;
}

/** A COMMIT of the app's would end the transaction before it is tracked. */
const OURS = /^\s*(?:begin|commit|end|rollback|savepoint|release|pragma|attach|detach|vacuum)\b/i;

export class LocalWork {
  readonly #parts: LocalWorkParts;
  readonly #requests: CompletedRequests;

  constructor(parts: LocalWorkParts) {
    this.#parts = parts;
    this.#requests = new CompletedRequests(parts.database, parts.host);
  }

  query(sql: string, params: AppRow): Promise<QueryResult> {
    return this.#parts.turn(() => {
      this.mustRead(sql);
      return this.#run(sql, params);
    });
  }

  /** Throws `UsageError` (`not_a_query`) for a statement that writes. */
  mustRead(sql: string): void {
    if (!this.#parts.database.connection.inspect(sql).readOnly)
      throw new UsageError("a query only reads; write in a transaction", "not_a_query");
  }

  /** One statement of a local transaction. */
  execute(sql: string, params: AppRow = []): QueryResult {
    if (OURS.test(sql))
      throw new UsageError("transactions and settings are the replica's", "not_allowed");
    return this.#run(sql, params);
  }

  wasDone(once: string): Promise<boolean> {
    return this.#parts.turn(() => this.#requests.answered(once) !== null);
  }

  /** Work as one local transaction; with the id of a request that was carried out before, nothing is
   * done and that answer given. */
  commit(work: () => QueryResult[], once: string | undefined): Promise<QueryResult[]> {
    const { turn, database, host, onCommitted } = this.#parts;
    return turn(() => {
      const done = once === undefined ? null : this.#requests.answered(once);
      if (done !== null) return done;
      const result = database.connection.transaction(() => {
        const answer = work();
        if (once !== undefined) this.#requests.note(once, answer);
        mark(database, host);
        return answer;
      });
      onCommitted();
      return result;
    });
  }

  async transaction<T>(
    work: (tx: Transaction) => T | Promise<T>,
    once: string | undefined,
  ): Promise<T> {
    const { turn, database, host, idleMs, onCommitted } = this.#parts;
    return await turn(async () => {
      const { connection } = database;
      const idle = new Idle(idleMs);
      connection.execute("BEGIN IMMEDIATE");
      let open = true;
      const tx: Transaction = {
        // Asynchronous although it is not: in a tab the same call is.
        execute: (sql, params = []) => {
          idle.touch();
          if (!open) throw new UsageError("the transaction has ended", "transaction_ended");
          return Promise.resolve(this.execute(sql, params));
        },
      };
      try {
        const result = await Promise.race([Promise.resolve().then(() => work(tx)), idle.over]);
        if (once !== undefined) this.#requests.note(once, []);
        mark(database, host);
        connection.execute("COMMIT");
        onCommitted();
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

  #run(sql: string, params: AppRow): QueryResult {
    const { names, rows } = this.#parts.database.connection.columns(sql, params.map(toStorage));
    return { columns: names, rows: appRows(rows) };
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
