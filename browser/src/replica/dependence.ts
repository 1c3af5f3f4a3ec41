/**
 * What a change rests on: the earlier unsettled ones without which it could not be.
 *
 * Knows: the notes of the outbox. Must not know: messages, or who decides. A change rests on the value
 * that it replaces (the same column or group; differences of a counter replace nothing), on the row's existence,
 * on what it refers to, and on a unique value that another row has given up. Never merely on the same
 * row: a sale does not wait for a refused rename (I27).
 */

import type { Table } from "../core/schema.js";
import { whole } from "../sqlite/connection.js";
import type { LocalDatabase } from "./database.js";
import { defaultsOf, differs } from "./overlay.js";

/** Of a transaction: the earlier ones that it rests on. */
export type After = Map<number, Set<number>>;

/** A number that no transaction reaches. */
const NEVER = 2n ** 62n;

/** What the transactions from `first` on rest on, which have just been noted; their columns inherit the
 * bases of what they stand on. */
export function sealedNow(database: LocalDatabase, tables: readonly Table[], first: number): After {
  const { connection, program } = database;
  const after: After = new Map();
  const [unsettled] = connection.execute(
    "SELECT count(*) FROM " +
      "(SELECT 1 FROM holdfast_tx WHERE state IN ('pending', 'sent') LIMIT 2)",
  );
  if (unsettled?.[0] === 1n) return after; // the new one alone
  const decided = new Set(
    connection
      .execute("SELECT number FROM holdfast_tx WHERE state NOT IN ('pending', 'sent')")
      .map(([number]) => whole(number)),
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
 * their own unsettled change, which itself was based on an older revision.
 */
function onOwnRow(
  { connection, program }: LocalDatabase,
  table: Table,
  first: number,
  decided: ReadonlySet<number>,
  note: (tx: number, earlier: number) => void,
): void {
  const sql = program.statements(table);
  const width = table.dataColumns.length;
  let inherited = new Map<string, number>();
  let writers = new Map<string, number>();
  let lastKey: string | null = null;
  let [last, exists] = [0, 0];
  const rows: [string, bigint, string][] = [];
  for (const row of connection.execute(sql.chained, [BigInt(first)])) {
    const [rev, found, foundKey, was, now, base, bases, ...values] = row;
    const [tx, key] = [whole(found), String(foundKey)];
    if (decided.has(tx)) continue;
    if (key !== lastKey) {
      inherited = new Map();
      writers = new Map();
      [lastKey, last, exists] = [key, 0, 0];
    }
    const written = (typeof bases === "string" ? JSON.parse(bases) : {}) as Record<string, number>;
    let own: ReadonlyMap<string, number> = new Map(Object.entries(written));
    let ground = base;
    // The default of an insert is no change: nobody has chosen it.
    const inserts = was === 0n && now === 1n;
    const old = inserts ? defaultsOf(table) : values.slice(0, width);
    const touched = table.dataColumns.filter(
      (_, at) => (was !== now && !inserts) || differs(table, old, values.slice(width), at),
    );
    if (tx >= first && last > 0) {
      ground = rev;
      own = new Map(inherited);
      rows.push([JSON.stringify(Object.fromEntries(inherited)), BigInt(tx), key]);
      if (exists > 0) note(tx, exists);
      if (was === 1n && now === 1n)
        for (const { name } of touched) {
          const writer = writers.get(name);
          if (writer !== undefined) note(tx, writer);
        }
    }
    last = tx;
    if (was !== now) {
      exists = tx;
      writers = new Map();
    }
    for (const { name, merge } of touched) {
      inherited.set(name, own.get(name) ?? whole(ground));
      if (was === now && merge !== "counter") writers.set(name, tx);
    }
  }
  connection.executeMany(sql.set_bases, rows);
}
