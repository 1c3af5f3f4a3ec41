/**
 * What a change rests on: the earlier unsettled ones without which it could not be.
 *
 * Knows: the notes of the outbox. Must not know: messages, or who decides. A change rests on the value
 * that it replaces (the same column or group; a difference, such as a counter's, replaces nothing), on the row's existence,
 * on what it refers to, and on a unique value that another row has given up. Never merely on the same
 * row: a sale does not wait for a refused rename (I27).
 */

import { CHAIN_PAGE_ROWS, CHAIN_PAGE_ROWS_MAX } from "../../core/limits.js";
import type { Row } from "../../core/keys.js";
import { policyOf } from "../../core/merging/policies.js";
import type { Table } from "../../core/schema.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";
import { defaultsOf, differs } from "../rebase/overlay.js";
import type { TableProgram } from "../storage/program.js";

/** Of a transaction: the earlier ones that it rests on. */
export type RestsOn = Map<number, Set<number>>;

/** A number that no transaction reaches. */
const NEVER = 2n ** 62n;

/** Return what the transactions from `first` on rest on, which have just been noted; their columns inherit the
 * bases of what they stand on. */
export function sealedNow(
  database: LocalDatabase,
  tables: readonly Table[],
  first: number,
): RestsOn {
  const { connection, program } = database;
  const after: RestsOn = new Map();
  const [unsettled] = connection.execute(program.bookkeeping.transactions.unsettled_up_to_two);
  if (unsettled?.[0] === 1n) return after; // the new one alone
  const decided = new Set(
    connection.execute(program.bookkeeping.transactions.decided).map(([number]) => whole(number)),
  );
  const note = (tx: number, earlier: number): void => {
    if (decided.has(earlier)) return;
    const known = after.get(tx);
    if (known === undefined) after.set(tx, new Set([earlier]));
    else known.add(earlier);
  };
  for (const table of tables) onOwnRow(database, table, first, decided, note);
  const touched = new Set(tables.map(({ name }) => name));
  for (const table of program.tables) {
    const sql = program.statements(table);
    const statements = [
      ...table.foreignKeys.flatMap(({ table: parent }, at) => [
        touched.has(table.name) ? sql.made[at] : "",
        touched.has(parent) ? sql.released[at] : "",
      ]),
      ...(touched.has(table.name) ? sql.freed : []),
    ];
    for (const statement of statements)
      if (statement !== undefined && statement !== "")
        for (const [tx, , earlier] of connection.execute(statement, [BigInt(first), NEVER, 0n]))
          note(whole(tx), whole(earlier));
  }
  return after;
}

/**
 * By its own rows. The base of a change is the revision the person saw. What they saw may have been
 * their own unsettled change, which itself was based on an older revision. The default of an insert is
 * no change: where nobody has chosen, they saw the row itself.
 */
function onOwnRow(
  { connection, program }: LocalDatabase,
  table: Table,
  first: number,
  decided: ReadonlySet<number>,
  note: (tx: number, earlier: number) => void,
): void {
  const sql = program.statements(table);
  const rows: [string, bigint, string][] = [];
  const byKey = new Map<string, Change[]>();
  for (const row of connection.execute(sql.chained, [BigInt(first)])) {
    const change = changeOf(table, row);
    if (decided.has(change.tx)) continue;
    const those = byKey.get(change.key);
    if (those === undefined) byKey.set(change.key, [change]);
    else those.push(change);
  }
  for (const [key, changes] of byKey) {
    const wanted = new Set(changes.flatMap(({ claims }) => claims));
    const chain = chainOf(connection, sql, table, { key, below: first, left: wanted, decided });
    for (const change of changes) {
      let known = change;
      if (chain.found) {
        const seen = change.claims.flatMap((name) => {
          const base = chain.inherited.get(name);
          return base === undefined ? [] : [[name, base] as const];
        });
        rows.push([JSON.stringify(Object.fromEntries(seen)), BigInt(change.tx), key]);
        if (chain.exists > 0) note(change.tx, chain.exists);
        if (change.updates)
          for (const name of change.touched) {
            const writer = chain.writers.get(name);
            if (writer !== undefined) note(change.tx, writer);
          }
        known = { ...change, ground: change.rev, bases: new Map(seen) };
      }
      chain.add(known);
    }
  }
  connection.executeMany(sql.set_bases, rows);
}

/** A noted change of one row. */
interface Change {
  readonly rev: number;
  readonly tx: number;
  readonly key: string;
  /** The row was and is. */
  readonly updates: boolean;
  readonly ground: number;
  readonly bases: ReadonlyMap<string, number>;
  /** Columns that it gives other values. */
  readonly touched: readonly string[];
  /** Columns of which it says what was seen. */
  readonly claims: readonly string[];
}

/** From a row of `chained` or `earlier`. */
function changeOf(table: Table, row: Row): Change {
  const [rev, tx, key, was, now, base, bases, ...values] = row;
  const width = table.dataColumns.length;
  const inserts = was === 0n && now === 1n;
  const updates = was === 1n && now === 1n;
  const old = inserts ? defaultsOf(table) : values.slice(0, width);
  const touched = table.dataColumns
    .filter((_, at) => (was !== now && !inserts) || differs(table, old, values.slice(width), at))
    .map(({ name }) => name);
  const written = (typeof bases === "string" ? JSON.parse(bases) : {}) as Record<string, number>;
  return {
    rev: whole(rev),
    tx: whole(tx),
    key: String(key),
    updates,
    ground: whole(base),
    bases: new Map(Object.entries(written)),
    touched,
    claims: updates ? touched : table.dataColumns.map(({ name }) => name),
  };
}

/** Base that a next change of a row would stand on. */
class Chain {
  /** Whether there is anything. */
  found = false;
  exists = 0;
  readonly inherited = new Map<string, number>();
  writers = new Map<string, number>();
  readonly #replacing: ReadonlySet<string>;
  readonly #inheriting: ReadonlySet<string>;

  constructor(table: Table) {
    const those = (which: "replaces" | "inherits"): ReadonlySet<string> =>
      new Set(table.dataColumns.filter((one) => policyOf(one)[which]).map(({ name }) => name));
    this.#replacing = those("replaces");
    this.#inheriting = those("inherits");
  }

  /** One more change, later than all before. */
  add(change: Change): void {
    this.found = true;
    if (!change.updates) {
      this.exists = change.tx;
      this.writers = new Map();
    }
    for (const name of change.touched) {
      if (this.#inheriting.has(name))
        this.inherited.set(name, change.bases.get(name) ?? change.ground);
      if (change.updates && this.#replacing.has(name)) this.writers.set(name, change.tx);
    }
  }

  /** One more change, earlier than all before; `left`: columns that are still looked for. */
  putBelow(change: Change, left: Set<string>): void {
    this.found = true;
    for (const name of change.touched) {
      if (!left.delete(name)) continue;
      if (this.#inheriting.has(name))
        this.inherited.set(name, change.bases.get(name) ?? change.ground);
      if (change.updates && this.exists === 0 && this.#replacing.has(name))
        this.writers.set(name, change.tx);
    }
    if (!change.updates && this.exists === 0) this.exists = change.tx;
  }
}

interface Place {
  readonly key: string;
  readonly below: number;
  readonly left: Set<string>;
  readonly decided: ReadonlySet<number>;
}

/** Return what a row's changes from `below` on stand on, read from the last one downwards, as far as it takes
 * to know of the columns that are `left`: however many changes wait, mostly one. */
function chainOf(
  connection: Connection,
  sql: TableProgram,
  table: Table,
  { key, below: from, left, decided }: Place,
): Chain {
  const chain = new Chain(table);
  let below = BigInt(from);
  for (let page = CHAIN_PAGE_ROWS; ; page = Math.min(page * 4, CHAIN_PAGE_ROWS_MAX)) {
    const rows = connection.execute(sql.earlier, [key, below, BigInt(page)]);
    let done = rows.length < page;
    for (const row of rows) {
      const change = changeOf(table, row);
      below = BigInt(change.tx);
      if (decided.has(change.tx)) continue;
      chain.putBelow(change, left);
      if (left.size > 0) continue;
      done = true;
      break;
    }
    if (done) break;
  }
  if (chain.exists === 0 && chain.found) {
    const makers = connection.execute(sql.makers, [key, below]).map(([tx]) => whole(tx));
    chain.exists = makers.find((tx) => !decided.has(tx)) ?? 0;
  }
  return chain;
}
