/**
 * Which rows have unsettled changes or shadows, asked for a few at a time.
 *
 * Knows: the program's statements. Must not know: what news are, or what is done with a row.
 * An exchange costs what it changes: with 100,000 transactions waiting, an answer to the first thousand
 * does not read the keys of all of them, nor does an exchange ask every table of a wide schema.
 */

import type { Table } from "../../core/schema.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { Program } from "./program.js";

/** A statement of this many parts stays short enough to be kept compiled. */
const TABLES_AT_ONCE = 50;

/** A set of keys in the database, of which it is asked whether one is in it. It must not change as
 * long as it is asked, but for what the asker has taken out themselves. */
export class Keys {
  readonly #db: Connection;
  readonly #sql: string | null;
  readonly #column: string;
  readonly #known = new Map<string, boolean>();

  /** `sql` gives all of them in `column`, and has no WHERE; null: there are none. */
  constructor(db: Connection, sql: string | null, column = "key") {
    this.#db = db;
    this.#sql = sql;
    this.#column = column;
  }

  /** Find out about many at once. */
  look(keys: Iterable<string>): void {
    if (this.#sql === null) return;
    const asked = [...new Set(keys)].filter((key) => !this.#known.has(key));
    if (asked.length === 0) return;
    for (const key of asked) this.#known.set(key, false);
    const found = this.#db.execute(
      `${this.#sql} WHERE ${this.#column} IN (SELECT value FROM json_each(?))`,
      [JSON.stringify(asked)],
    );
    for (const [key] of found) this.#known.set(String(key), true);
  }

  has(key: string): boolean {
    if (this.#sql === null) return false;
    this.look([key]);
    return this.#known.get(key) === true;
  }

  /** Those of some keys that are in it. */
  among(keys: Iterable<string>): Set<string> {
    const wanted = [...keys];
    this.look(wanted);
    return new Set(wanted.filter((key) => this.#known.get(key) === true));
  }

  /** Every key: costs as many as there are. */
  all(): Set<string> {
    if (this.#sql === null) return new Set();
    return new Set(this.#db.execute(this.#sql).map(([key]) => String(key)));
  }
}

/** The tables with notes in the outbox or with shadows, in the program's order. */
export function notedTables(db: Connection, program: Program): Table[] {
  const { tables } = program;
  const found: Table[] = [];
  for (let start = 0; start < tables.length; start += TABLES_AT_ONCE) {
    const parts = tables.slice(start, start + TABLES_AT_ONCE).map((table, at) => {
      const sql = program.statements(table);
      const noted = sql.groups.replace("?", "0");
      return `SELECT ${start + at} WHERE EXISTS (${noted}) OR EXISTS (${sql.shadow_keys})`;
    });
    for (const [number] of db.execute(parts.join(" UNION ALL ")))
      found.push(tables[whole(number)] as Table);
  }
  return found;
}
