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

/** A set of keys in the database, of which it is asked whether one is in it. It must not change as
 * long as it is asked, but for what the asker has taken out themselves. */
export class NotedKeys {
  readonly #db: Connection;
  readonly #every: string;
  readonly #among: string;
  readonly #known = new Map<string, boolean>();

  /** `every` gives all of them, `among` those of a JSON array; empty: there are none. */
  constructor(db: Connection, every = "", among = "") {
    this.#db = db;
    this.#every = every;
    this.#among = among;
  }

  /** Find out about many at once. */
  look(keys: Iterable<string>): void {
    if (this.#among === "") return;
    const asked = [...new Set(keys)].filter((key) => !this.#known.has(key));
    if (asked.length === 0) return;
    for (const key of asked) this.#known.set(key, false);
    const found = this.#db.execute(this.#among, [JSON.stringify(asked)]);
    for (const [key] of found) this.#known.set(String(key), true);
  }

  has(key: string): boolean {
    if (this.#among === "") return false;
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
    if (this.#every === "") return new Set();
    return new Set(this.#db.execute(this.#every).map(([key]) => String(key)));
  }
}

/** The tables with notes in the outbox or with shadows, in the program's order. Only those are asked
 * that may have some, which sealing writes down. `sweep`: those that have none any more are no longer
 * asked from now on; inside a write transaction. */
export function notedTables(db: Connection, program: Program, sweep = false): Table[] {
  const { json } = program;
  const may = new Set(db.execute(json.noted_tables).map(([name]) => String(name)));
  return program.tables.filter((table) => {
    if (!may.has(table.name)) return false;
    const noted = whole(db.execute(program.statements(table).noted)[0]?.[0]) === 1;
    if (!noted && sweep) db.execute(json.drop_noted, [table.name]);
    return noted;
  });
}
