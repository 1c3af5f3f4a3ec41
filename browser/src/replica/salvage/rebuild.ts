/**
 * A new replica from what was found in a damaged one: its outbox, and nothing of the server's.
 *
 * Knows: the tables of a new file, and what makes it whole. Must not know: how the finds came about.
 * The server's rows are loaded anew; until then, what is shown is what the outbox says of its rows.
 *
 * - What is whole keeps its number, its id and its moment. It is offered again under the replica that the
 *   damaged file was, so that what had arrived is not applied twice (I8). When it cannot be read which one
 *   that was, it is offered as that of one that no server knows.
 * - What is not whole waits in the inbox (I4, I16), with what builds on it. So does what may have been sent,
 *   when it cannot be read any more which replica it was: nobody could match it.
 * - What was not sealed is sealed now, by the same steps as ever.
 *
 * Upholds I32 and I34.
 */

import { transactionId } from "../../core/ids.js";
import type { Value } from "../../core/values.js";
import { whole } from "../../sqlite/connection.js";
import { seal } from "../changes/seal.js";
import { type Host, randomHex } from "../host.js";
import { Overlay } from "../rebase/overlay.js";
import { Replay } from "../rebase/replay.js";
import type { LocalDatabase } from "../storage/database.js";
import type { Finds } from "./finds.js";
import type { RowValues } from "./tables.js";

/** The code of a transaction that could not be read whole. */
const DAMAGED = "damaged";
const MAYBE_SENT = "nobody can tell any more whether it had reached the server before that";
const CARRIED_STATE = [
  "device",
  "user",
  "epoch",
  "confirmed",
  "offset_us",
  "offset_error_us",
  "server_generation",
  "kept_bytes",
  "kept_lost",
  "backed_up",
  "stamp_us",
  "open_tx",
];

/** Counts: transactions and changes that go on, transactions that wait in the inbox, and how many of them
 * are there because of the damage. */
export interface SalvageResult {
  readonly transactions: number;
  readonly changes: number;
  readonly toInbox: number;
  readonly stopped: number;
}

/** Fill a new replica; all in one transaction. `event`: a sentence for its history. */
export function rebuild(
  database: LocalDatabase,
  finds: Finds,
  host: Host,
  event: (result: SalvageResult) => string,
): SalvageResult {
  return database.syncTransaction(() => {
    const build = new Build(database, finds, host);
    build.run();
    const result = build.result();
    database.connection.execute(database.bookkeeping.events.add, [
      BigInt(host.nowUs()),
      "salvaged",
      null,
      event(result),
    ]);
    return result;
  });
}

class Build {
  readonly #database: LocalDatabase;
  readonly #finds: Finds;
  readonly #host: Host;
  /** Whether it can be said which replica it was. */
  readonly #isKnown: boolean;
  readonly #heads = new Map<number, Map<string, Value>>();
  readonly #stopped = new Map<number, string>();

  constructor(database: LocalDatabase, finds: Finds, host: Host) {
    this.#database = database;
    this.#finds = finds;
    this.#host = host;
    this.#isKnown = Boolean(finds.state.get("replica")) || Boolean(finds.state.get("device"));
  }

  run(): void {
    const database = this.#database;
    this.#putState();
    this.#collectHeads();
    this.#putOutbox();
    for (const [name, { rows }] of this.#finds.kept)
      this.#put(
        name,
        [...rows].sort(([left], [right]) => left - right).map(([, row]) => row),
      );
    database.applying(() => this.#putRowsNow());
    this.#put("holdfast_log", this.#finds.log);
    const first = this.#next();
    seal(database, this.#host); // while all of it still counts: what was written last builds on it
    this.#stop(first);
    database.applying(() => {
      this.#takeRowsAway();
      this.#show();
    });
    this.#run(database.bookkeeping.identity.fork, randomHex(this.#host, 16));
  }

  // --- what is there already -----------------------------------------------------------------------

  #putState(): void {
    const { state } = this.#finds;
    const names = [
      ...CARRIED_STATE,
      ...(this.#isKnown ? ["replica", "origin", "origin_last"] : []),
    ];
    const columns = new Set(this.#columns("holdfast_state"));
    for (const name of names) {
      const value = name === "replica" ? (state.get(name) ?? "") : (state.get(name) ?? null);
      if (columns.has(name) && value !== null)
        this.#run(`UPDATE holdfast_state SET ${name} = ?`, value);
    }
  }

  /** The list of transactions, with those that are known by their changes alone; and why some of them have
   * to wait. */
  #collectHeads(): void {
    const { transactions, damaged } = this.#finds;
    for (const [number, row] of transactions) this.#heads.set(number, new Map(row));
    for (const number of damaged.keys())
      if (!this.#heads.has(number))
        this.#heads.set(
          number,
          new Map<string, Value>([
            ["number", BigInt(number)],
            ["id", transactionId(this.#host.randomBytes)],
            ["state", "pending"],
            ["at", BigInt(this.#host.nowUs())],
            ["after", "[]"],
            ["generation", BigInt(this.#database.program.json.schema.generation ?? 1)],
          ]),
        );
    for (const [number, head] of this.#heads) {
      const state = head.get("state");
      if (state !== "pending" && state !== "sent") continue;
      head.set("aside", 0n);
      const why = damaged.get(number) ?? (this.#isKnown || state === "pending" ? null : MAYBE_SENT);
      if (why !== null) this.#stopped.set(number, why);
    }
  }

  #putOutbox(): void {
    const heads = [...this.#heads].sort(([left], [right]) => left - right);
    this.#put(
      "holdfast_tx",
      heads.map(([, head]) => head),
    );
    for (const [name, rows] of this.#finds.changes) {
      this.#put(`holdfast_change_${name}`, rows);
      if (rows.length > 0) this.#run(this.#database.program.json.add_noted, name);
    }
    this.#database.writeState({ open_tx: BigInt(this.#next()) });
  }

  // --- what is sealed now --------------------------------------------------------------------------

  #putRowsNow(): void {
    for (const [name, rows] of this.#finds.rows) this.#put(name, rows);
    for (const [table, key, rev] of this.#finds.revisions)
      this.#run(this.#database.bookkeeping.rows.put, table, key, rev);
  }

  /** Put what is not whole into the inbox, with what builds on it; the rest is to be sent. `logged`: the
   * first number of what was sealed just now. */
  #stop(logged: number): void {
    const { transactions } = this.#database.bookkeeping;
    const now = BigInt(this.#host.nowUs());
    const stopped = new Set(this.#stopped.keys());
    const found = this.#database.connection.execute(
      "SELECT number, after FROM holdfast_tx WHERE state IN ('pending', 'sent') ORDER BY number",
    );
    for (const [one, text] of found) {
      const number = whole(one);
      const isLost = number >= logged && this.#finds.isLogDamaged;
      const why =
        this.#stopped.get(number) ??
        (isLost ? "some of what was written last could not be read" : null);
      const earlier = (JSON.parse(String(text)) as number[]).find((other) => stopped.has(other));
      if (why === null && earlier === undefined) continue;
      stopped.add(number);
      const outcome = why === null ? "held" : "refused";
      const message =
        why === null
          ? `it depends on transaction ${earlier ?? 0}, which could not be read whole`
          : `the file was damaged: ${why}. Compare it with the rows, then make it again or discard it`;
      this.#run(
        transactions.decide,
        outcome,
        why === null ? "held" : DAMAGED,
        message,
        "",
        BigInt(why === null ? (earlier ?? 0) : 0),
        now,
        outcome,
        BigInt(number),
      );
    }
    // What was never sent is counted by its numbers, which have no gaps then.
    if (stopped.size > 0) this.#run(transactions.set_sent, BigInt(this.#next()));
  }

  /** The rows of the log's keys are the server's, which sends them anew. */
  #takeRowsAway(): void {
    for (const name of this.#finds.rows.keys()) this.#run(`DELETE FROM "${name}"`);
    this.#run(this.#database.bookkeeping.rows.clear);
  }

  /** Show what the outbox says of its rows. Of the server's nothing is here yet. */
  #show(): void {
    const { connection, program } = this.#database;
    const overlays = new Map<string, Overlay>();
    const again = new Map<string, ReadonlySet<string>>();
    for (const table of program.tables) {
      const sql = program.statements(table);
      const overlay = new Overlay(connection, table, sql);
      overlays.set(table.name, overlay);
      const keys = new Set(connection.execute(sql.unsettled_keys).map(([key]) => String(key)));
      for (const key of keys) overlay.putShadow(key, null);
      if (keys.size > 0) again.set(table.name, keys);
    }
    new Replay(this.#database, overlays).run(again, new Map());
  }

  // --- pieces --------------------------------------------------------------------------------------

  #run(sql: string, ...params: Value[]): void {
    this.#database.connection.execute(sql, params);
  }

  #next(): number {
    const newest = this.#database.count("SELECT coalesce(max(number), 0) FROM holdfast_tx");
    return Math.max(newest + 1, whole(this.#database.state("open_tx")[0]));
  }

  #columns(table: string): string[] {
    const found = this.#database.connection.execute("SELECT name FROM pragma_table_info(?)", [
      table,
    ]);
    return found.map(([name]) => String(name));
  }

  #put(name: string, rows: Iterable<RowValues>): void {
    const columns = this.#columns(name);
    if (columns.length === 0) return; // an app's own, which could not be made
    for (const row of rows) {
      const given = columns.filter((column) => (row.get(column) ?? null) !== null);
      const listed = given.map((column) => `"${column}"`).join(", ");
      const marks = given.map(() => "?").join(", ");
      this.#run(
        `INSERT INTO "${name}" (${listed}) VALUES (${marks})`,
        ...given.map((column) => row.get(column) ?? null),
      );
    }
  }

  /** Count what there is now. */
  result(): SalvageResult {
    const count = (sql: string, ...params: Value[]): number => this.#database.count(sql, ...params);
    const { program } = this.#database;
    const changes = program.tables.map((table) =>
      count(program.statements(table).count_changes, 0n),
    );
    const of = "SELECT count(*) FROM holdfast_tx WHERE";
    return {
      transactions: count(`${of} state IN ('pending', 'sent')`),
      changes: changes.reduce((sum, one) => sum + one, 0),
      toInbox: count(`${of} state IN ('refused', 'held')`),
      stopped: count(`${of} code = ?`, DAMAGED),
    };
  }
}
