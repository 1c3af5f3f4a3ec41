/**
 * Live queries: run again when a table they read has changed, told when their rows have.
 *
 * Knows: which tables a query reads. Must not know: who writes. Queries that read the engine's own
 * tables or views (`holdfast_...`) are looked at after every commit, and so are those that read tables
 * of which SQLite does not tell what changes: virtual ones, and those WITHOUT ROWID.
 */

import type { Connection } from "../sqlite/connection.js";
import { type AppRow, appRows, type QueryResult, sameResult, toStorage } from "./appValues.js";
import type { Value } from "../core/values.js";

export type Listener = (result: QueryResult) => void;

interface Live {
  readonly sql: string;
  readonly params: readonly Value[];
  readonly tables: ReadonlySet<string>;
  readonly always: boolean;
  readonly listener: Listener;
  last: QueryResult;
}

/** Do what an app has asked to be told of; what it throws is its own affair, and printed. */
export function aside(work: () => void): void {
  try {
    work();
  } catch (error) {
    console.error(error);
  }
}

export class LiveQueries {
  readonly #connection: Connection;
  readonly #live = new Set<Live>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Add a query and tell its rows at once; the answer removes it again. */
  add(sql: string, params: AppRow, listener: Listener): () => void {
    const { tables } = this.#connection.inspect(sql);
    const bound = params.map(toStorage);
    const live: Live = {
      sql,
      params: bound,
      tables: new Set(tables),
      always: tables.some((table) => table.startsWith("holdfast_") || this.#isQuiet(table)),
      listener,
      last: this.#run(sql, bound),
    };
    this.#live.add(live);
    listener(live.last);
    return () => void this.#live.delete(live);
  }

  /** Something was committed: look at the queries it concerns. */
  committed(): void {
    const changed = this.#connection.takeChanged();
    for (const live of [...this.#live]) {
      if (!live.always && ![...live.tables].some((table) => changed.has(table))) continue;
      // One that fails, on what the data have become, is not in the way of the others.
      aside(() => {
        const result = this.#run(live.sql, live.params);
        if (sameResult(live.last, result)) return;
        live.last = result;
        live.listener(result);
      });
    }
  }

  /** Return whether SQLite keeps its changes to itself. */
  #isQuiet(table: string): boolean {
    const [row] = this.#connection.execute(
      "SELECT wr = 1 OR type = 'virtual' FROM pragma_table_list WHERE schema = 'main' AND name = ?",
      [table],
    );
    return row?.[0] === 1n;
  }

  #run(sql: string, params: readonly Value[]): QueryResult {
    const { names, rows } = this.#connection.columns(sql, params);
    return { columns: names, rows: appRows(rows) };
  }
}
