/**
 * Which unsettled transactions are set aside, why, and what builds on them.
 *
 * Knows: the outbox's list of transactions. Must not know: rows, or how it comes to be that one
 * cannot be shown. A transaction is set aside whole, with what builds on it (I16); it is sent all the
 * same, and the server decides about it (I4).
 *
 * What was made while another was set aside has not seen it, so it does not build on it, though it
 * may name it: `aside` holds the number that the next transaction had at that moment.
 */

import { type Connection, whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "./database.js";
import type { Bookkeeping } from "./program.js";

/** Reason that a transaction is not shown, as a refusal of the server says it. `heldBy`: the number of the
 * one that it builds on. */
export interface AsideReason {
  readonly code: string;
  readonly message: string;
  readonly field: string;
  readonly heldBy: number;
}

/** Return why a transaction is set aside with another one. */
export function buildsOn(number: number): AsideReason {
  const message = `it depends on transaction ${number}, which is set aside`;
  return { code: "held", message, field: "", heldBy: number };
}

/** Graph of what builds on what, by numbers; and what was refused or held. */
interface Graph {
  readonly after: ReadonlyMap<number, readonly number[]>;
  readonly later: ReadonlyMap<number, readonly number[]>;
  readonly stopped: ReadonlySet<number>;
}

/** The transactions that are set aside, within one application of news. */
export class SetAside {
  readonly #database: LocalDatabase;
  readonly #db: Connection;
  /** Those that were set aside until now, and the first number made after that. */
  readonly before = new Map<number, number>();
  /** Those that are not shown, as far as has been found out. */
  readonly hidden = new Set<number>();
  readonly reasons = new Map<number, AsideReason>();
  readonly #gone = new Set<number>();
  #known: Graph | null = null;

  constructor(database: LocalDatabase) {
    this.#database = database;
    this.#db = database.connection;
    for (const [number, aside, code] of this.#db.execute(this.#sql.transactions.aside)) {
      this.before.set(whole(number), whole(aside));
      if (code === "row_gone") this.#gone.add(whole(number));
    }
  }

  get #sql(): Bookkeeping {
    return this.#database.bookkeeping;
  }

  /** Return what builds on what, and which were refused; looked up when it is needed. */
  #graph(): Graph {
    if (this.#known !== null) return this.#known;
    const after = new Map<number, readonly number[]>();
    const later = new Map<number, number[]>();
    for (const [number, earlier] of this.#db.execute(this.#sql.transactions.resting)) {
      const ones = JSON.parse(String(earlier)) as number[];
      after.set(whole(number), ones);
      for (const one of ones) {
        const those = later.get(one);
        if (those === undefined) later.set(one, [whole(number)]);
        else those.push(whole(number));
      }
    }
    const stopped = this.#db.execute(this.#sql.transactions.stopped);
    this.#known = { after, later, stopped: new Set(stopped.map(([number]) => whole(number))) };
    return this.#known;
  }

  #saw(number: number, earlier: number): boolean {
    return number < (this.before.get(earlier) ?? number + 1);
  }

  /** The hidden transaction that this one builds on, 0: none. */
  stoppedBy(number: number): number {
    const after = this.#graph().after.get(number) ?? [];
    return after.find((one) => this.hidden.has(one) && this.#saw(number, one)) ?? 0;
  }

  /** Return whether a change of a row that the server never had builds on one that it refused: the number of
   * that one, 0 when it is not known any more, null: it does not. */
  lostGround(number: number): number | null {
    const { after, stopped } = this.#graph();
    const refused = after.get(number)?.find((one) => stopped.has(one)) ?? null;
    return refused === null && this.#gone.has(number) ? 0 : refused;
  }

  /** Set one aside, with all that builds on it; which they are. */
  hide(number: number, reason: AsideReason): number[] {
    this.reasons.set(number, reason);
    this.hidden.add(number);
    const found = [number];
    for (const earlier of found)
      for (const later of this.#graph().later.get(earlier) ?? [])
        if (!this.hidden.has(later) && this.#saw(later, earlier)) {
          this.reasons.set(later, buildsOn(earlier));
          this.hidden.add(later);
          found.push(later);
        }
    return found;
  }

  /** The lowest and the highest number that is unsettled. */
  span(): readonly [number, number] {
    const [row] = this.#db.execute(this.#sql.transactions.unsettled_span);
    return [whole(row?.[0]), whole(row?.[1])];
  }

  /** Keep what was found out. */
  store(): void {
    for (const number of this.before.keys())
      if (!this.hidden.has(number))
        this.#db.execute(this.#sql.transactions.show_again, [BigInt(number)]);
    if (this.hidden.size === 0) return;
    const [open] = this.#database.state("open_tx");
    for (const number of [...this.hidden].sort((a, b) => a - b)) {
      const why = this.reasons.get(number) ?? buildsOn(0);
      this.#db.execute(this.#sql.transactions.set_aside, [
        BigInt(this.before.get(number) ?? whole(open)),
        why.code,
        why.message,
        why.field,
        BigInt(why.heldBy),
        BigInt(number),
      ]);
    }
  }
}
