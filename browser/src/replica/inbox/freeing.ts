/**
 * Held transactions go on when what they waited for is settled.
 *
 * Knows: what waits in the inbox, and for what. Must not know: the network, or who has settled the cause.
 * A held transaction has its outcome; it goes on as a new one that names it, with a new number, on the
 * rows as they are now. What a restored server did not take again, because a row of another device was not
 * back, goes on when that is, unless somebody has changed what it changes. What cannot go on stays in the inbox with the reason, and a person may still make
 * it again. Upholds I4 and I27.
 */

import { ConstraintFailed, UsageError } from "../../core/errors.js";
import { keyText, keyValues, type Row } from "../../core/keys.js";
import type { Table } from "../../core/schema.js";
import type { LocalDatabase } from "../storage/database.js";
import type { Reference } from "../storage/program.js";
import type { Inbox } from "./inbox.js";
import { AWAITED } from "../identity/kept.js";
import { policyOf } from "../../core/merging/policies.js";
import { assemble, type CapturedChange, dataOf, differs, touches } from "../rebase/overlay.js";

/** A held transaction that cannot go on: `code` is `held` (something else that it rests on still waits:
 * `heldBy`), `no_row` (a row that it changes or refers to is not there) or `constraint`. */
export interface StillHeld {
  readonly number: number;
  readonly code: string;
  readonly message: string;
  readonly heldBy: number;
}

/** Result for the transactions that waited for one that is settled: `numbers` go on, as those that
 * are `made`; `kept` stay in the inbox. */
export interface Freed {
  readonly numbers: readonly number[];
  readonly kept: readonly StillHeld[];
  readonly made: readonly number[];
}

/** The code of what waits for another transaction, and for nothing else. */
const WAITING = "held";

/** Lets go on what waits for nothing any more, in a write transaction of the caller's. */
export class Freeing {
  readonly #database: LocalDatabase;
  readonly #inbox: Inbox;
  readonly #seal: (replaces: number) => number | null;

  /** `seal`: seals the open group as the one that replaces a number; its new number. */
  constructor(database: LocalDatabase, inbox: Inbox, seal: (replaces: number) => number | null) {
    this.#database = database;
    this.#inbox = inbox;
    this.#seal = seal;
  }

  /** Return what waited for a transaction that has left the inbox. */
  after(settled: number): Freed {
    return this.#run(new Set([settled]), true);
  }

  /** Return what was held by transactions that have left the inbox meanwhile, unless it was found before that
   * it cannot go on. */
  afterNews(): Freed {
    return this.#run(new Set(), false);
  }

  #run(gone: Set<number>, asked: boolean): Freed {
    const held = this.#inbox.held();
    const [numbers, made, kept]: [number[], number[], StillHeld[]] = [[], [], []];
    if (held.length === 0) return { numbers, made, kept };
    const waiting = this.#inbox.numbers();
    // Until all scopes agree, rows may stand here that the server has lost.
    const { connection, bookkeeping } = this.#database;
    const agreed = !asked && connection.execute(bookkeeping.scopes.differing).length === 0;
    for (const { number, after, code } of held) {
      const awaits = agreed && AWAITED.includes(code);
      if (asked ? !after.some((one) => gone.has(one)) : code !== WAITING && !awaits) continue;
      const blocker = after.find((one) => waiting.has(one));
      if (blocker !== undefined) {
        if (!asked) continue;
        const message = `Waits for ${blocker}.`;
        kept.push({ number, code: WAITING, message, heldBy: blocker });
      } else {
        if (awaits && !this.#isBack(number)) continue;
        const reason = (awaits ? this.#overtaken(number) : null) ?? this.#goOn(number, made);
        if (awaits && reason?.code === "no_row") continue; // what it refers to is not back
        if (reason === null) {
          numbers.push(number);
          gone.add(number);
          waiting.delete(number);
          continue;
        }
        kept.push(reason);
      }
      this.#inbox.noteHeld(kept.at(-1) as StillHeld);
    }
    return { numbers, made, kept };
  }

  #goOn(number: number, made: number[]): StillHeld | null {
    const missing = this.#missing(number);
    if (missing !== "") return { number, code: "no_row", message: missing, heldBy: 0 };
    const sealed: (number | null)[] = [];
    try {
      this.#database.connection.savepoint("holdfast_free", () => {
        this.#inbox.writeAgain(number);
        sealed.push(this.#seal(number));
      });
    } catch (error) {
      if (error instanceof UsageError)
        return { number, code: error.code, message: error.message, heldBy: 0 };
      if (!(error instanceof ConstraintFailed)) throw error;
      return { number, code: "constraint", message: error.message, heldBy: 0 };
    }
    this.#inbox.forget(number);
    made.push(...sealed.filter((one) => one !== null));
    return null;
  }

  /** Return whether the rows that a transaction changes or deletes are there. */
  #isBack(number: number): boolean {
    return this.#inbox
      .notes(number)
      .every(([table, note]) => !note.was || this.#inbox.overlay(table).visible(note.key) !== null);
  }

  /** Return why it is for a person: other values stand than those it was made on. */
  #overtaken(number: number): StillHeld | null {
    for (const [table, note] of this.#inbox.notes(number)) {
      const row = this.#inbox.overlay(table).visible(note.key);
      if (row === null || (note.was && !isOvertaken(table, note, dataOf(table, row)))) continue;
      const message = `A row of ${table.name} was changed meanwhile: ${note.key}. Look at it first.`;
      return { number, code: "constraint", message, heldBy: 0 };
    }
    return null;
  }

  /** Return which row a transaction refers to that is not there, in words; empty: none. */
  #missing(number: number): string {
    const changes = this.#inbox.notes(number);
    const named = (table: Table, key: string): string => `${table.name} ${key}`;
    const pick = (wanted: (note: CapturedChange) => boolean): Set<string> =>
      new Set(
        changes.filter(([, note]) => wanted(note)).map(([table, note]) => named(table, note.key)),
      );
    const coming = pick((note) => note.now && !note.was);
    const going = pick((note) => !note.now);
    for (const [table, note] of changes) {
      if (note.now) {
        for (const reference of this.#inbox.overlay(table).references)
          if (!this.#stands(table, reference, note, coming))
            return `It refers to a row of ${reference.table} that is not there.`;
      } else if (note.was && this.#isReferredTo(table, note.key, going))
        return `It deletes a row of ${table.name} that others still refer to: ${note.key}.`;
    }
    return "";
  }

  /** Return whether what a row refers to is there, as far as that can be seen here. */
  #stands(
    table: Table,
    reference: Reference,
    note: CapturedChange,
    coming: ReadonlySet<string>,
  ): boolean {
    const row = assemble(table, note.key, note.new);
    const values = reference.columns.map((name) => row[table.positions.get(name) ?? -1] ?? null);
    const anew =
      !note.was ||
      table.dataColumns.some(
        ({ name }, at) => reference.columns.includes(name) && touches(table, note, at),
      );
    if (values.includes(null) || !anew) return true;
    const parent = this.#database.program.byName.get(reference.table) as Table;
    const key = keyText(parent, values);
    return this.#inbox.overlay(parent).visible(key) !== null || coming.has(`${parent.name} ${key}`);
  }

  #isReferredTo(parent: Table, key: string, going: ReadonlySet<string>): boolean {
    const values = keyValues(parent, key);
    return this.#database.program.tables.some((table) => {
      const overlay = this.#inbox.overlay(table);
      return overlay.references.some(
        (reference, place) =>
          reference.table === parent.name &&
          overlay.children(place, values).some((child) => !going.has(`${table.name} ${child}`)),
      );
    });
  }
}

/** Return whether a row has another value where a change replaces one. */
function isOvertaken(table: Table, note: CapturedChange, data: Row): boolean {
  return table.dataColumns.some(
    (column, at) =>
      (!note.now || touches(table, note, at)) &&
      policyOf(column).replaces &&
      differs(table, note.old, data, at) &&
      (!note.now || differs(table, note.new, data, at)),
  );
}
