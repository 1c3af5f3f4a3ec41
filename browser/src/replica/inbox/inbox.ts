/**
 * The inbox: conflicts and refused transactions, where they wait for a person.
 *
 * Knows: the conflict table and refused transactions. Must not know: the network; all of it works
 * offline. Upholds I28 and the local half of I4: a refused transaction leaves only by retry (a new
 * one that names it) or by discard. Writing calls run inside a local transaction of the replica.
 */

import { BadValue, ConstraintFailed, UsageError } from "../../core/errors.js";
import { keyValues, type Row } from "../../core/keys.js";
import { policyOf } from "../../core/merging/policies.js";
import { type Column, columnsOf, type Table } from "../../core/schema.js";
import { chosenSide, type SideChoice, type Party, type Side, yours } from "../../core/sides.js";
import { check, fromWire, toWire, type Value, type Wire } from "../../core/values.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";
import type { StillHeld } from "./freeing.js";
import { changeMessage } from "../changes/outbox.js";
import { assemble, dataOf, fold, type CapturedChange, noteOf, Overlay } from "../rebase/overlay.js";
import type { Bookkeeping } from "../storage/program.js";

/** An open conflict. `deviceValue`: what `user` on `device` wants, which did not go in; `serverValue`:
 * what stands on the server, by `theirUser` on `theirDevice`; `base`: what both started from; all in
 * wire form. `yours`: which of them belongs to this device, or else to its user, if one does. `mine` and
 * `theirs` are older names of `deviceValue` and `serverValue`, whoever asks. `at`: microseconds since
 * 1970. About a group (columns that are one decision) `column` is their names joined by commas, and each
 * value is an object of theirs. */
export interface Conflict {
  readonly id: string;
  readonly table: string;
  readonly key: string;
  readonly column: string;
  readonly kind: string;
  readonly base: unknown;
  readonly deviceValue: unknown;
  readonly serverValue: unknown;
  readonly yours: Side | null;
  readonly mine: unknown;
  readonly theirs: unknown;
  readonly user: string;
  readonly device: string;
  readonly at: number;
  readonly theirUser: string;
  readonly theirDevice: string;
  readonly theirAt: number | null;
}

/** A change of a refused transaction, in wire form; `current`: what the row says now. */
export interface RefusedChange {
  readonly table: string;
  readonly key: string;
  readonly op: string;
  readonly old: Readonly<Record<string, unknown>>;
  readonly new: Readonly<Record<string, unknown>>;
  readonly current: Readonly<Record<string, unknown>>;
  readonly error?: string;
}

/** A refused or held transaction that waits for a person. `heldBy`: what it waits for. `setAside`:
 * this device cannot show it on what the server has; it is sent all the same, and the server decides;
 * `code`, `message` and `field` say what was in the way. */
export interface Refused {
  readonly id: string;
  readonly number: number;
  readonly state: string;
  readonly code: string;
  readonly message: string;
  readonly field: string;
  readonly heldBy: number;
  readonly at: number;
  readonly changes: readonly RefusedChange[];
  readonly setAside: boolean;
}

/** A value in wire form; about a group (columns that are one decision) the values of all its columns. */
export type Chosen = Wire | Readonly<Record<string, Wire>>;

/** Resolution of a conflict: keep a side, or set another value (wire form). `device` and `server` mean
 * the same on every device, `yours` and `other` what they are as seen from this one. */
export type Resolution = { readonly keep: SideChoice } | { readonly value: Chosen };

export class Inbox {
  readonly #database: LocalDatabase;
  readonly #db: Connection;

  constructor(database: LocalDatabase) {
    this.#database = database;
    this.#db = database.connection;
  }

  get #sql(): Bookkeeping {
    return this.#database.bookkeeping;
  }

  /** Open conflicts of all rows this replica may see, oldest first. */
  conflicts(): Conflict[] {
    const asking = this.#asking();
    return this.#db.execute(this.#sql.conflicts.open).map((row) => conflict(row, asking));
  }

  /** Return who asks: the user and the device of this replica. */
  #asking(): Party {
    const [device = "", user = ""] = this.#database.texts("device", "user");
    return { user, device };
  }

  /** Settle a conflict: write the value and close the conflict row. Throws `UsageError`
   * (`no_conflict`, `bad_choice`, `unclear_side`) or `BadValue`. */
  settle(id: string, by: Resolution, nowUs: number): void {
    const [found] = this.#db.execute(this.#sql.conflicts.open_item, [id]);
    if (found === undefined)
      throw new UsageError(`no open conflict has the id ${id}`, "no_conflict");
    const asking = this.#asking();
    const open = conflict(found, asking);
    const side = "keep" in by ? chosenSide(by.keep, ...parties(open), asking) : null;
    const chosen =
      open.kind === "delete" ? this.#sideOf(found, side) : this.#writeChosen(open, side, by);
    this.#db.execute(this.#sql.conflicts.settle, [
      chosen,
      asking.user || asking.device,
      BigInt(nowUs),
      id,
    ]);
  }

  #sideOf(found: Row, side: Side | null): string | null {
    if (side === null)
      throw new UsageError(
        "this is about a whole row: keep a side of it (device or server); there is no other value to set",
        "bad_choice",
      );
    const stored = found[side === "device" ? 6 : 7];
    return typeof stored === "string" ? stored : null;
  }

  #writeChosen(open: Conflict, side: Side | null, by: Resolution): string {
    const table = this.#database.program.byName.get(open.table);
    const columns = columnsOf(open.column).flatMap((name) => table?.byName.get(name) ?? []);
    if (table === undefined || columns.length < columnsOf(open.column).length)
      throw new UsageError("the conflict is about an unknown column", "no_conflict");
    const kept = side === "device" ? open.deviceValue : open.serverValue;
    const wires = wiresOf(open.column, side === null && "value" in by ? by.value : kept);
    const stored = columns.map(({ type, scale }, at) => fromWire(type, wires[at] ?? null, scale));
    const key = table.key.map((name) => `"${name}" = ?`).join(" AND ");
    const sets = columns.map(({ name }) => `"${name}" = ?`).join(", ");
    this.#db.execute(`UPDATE "${table.name}" SET ${sets} WHERE ${key}`, [
      ...stored,
      ...keyValues(table, open.key),
    ]);
    const written = columns.map(({ name, type, scale }, at) => {
      return [name, toWire(type, check(type, stored[at] ?? null, scale))] as const;
    });
    return JSON.stringify(written.length > 1 ? Object.fromEntries(written) : written[0]?.[1]);
  }

  // --- refused transactions ----------------------------------------------------------------------

  /** Refused, held and set aside transactions, in order. */
  refused(): Refused[] {
    return this.#db
      .execute(this.#sql.transactions.inbox)
      .map(([number, state, aside, code, message, field, heldBy, at]) => ({
        id: String(number),
        number: whole(number),
        state: aside === 0n ? String(state) : "held",
        setAside: aside !== 0n,
        code: String(code),
        message: String(message),
        field: String(field),
        heldBy: whole(heldBy),
        at: whole(at),
        changes:
          whole(number) < 0
            ? this.#gone(whole(number))
            : this.notes(whole(number)).map(([table, note]) => this.#describe(table, note)),
      }));
  }

  /** Return what was written into a column or table that is gone: numbers below 0. */
  #gone(number: number): RefusedChange[] {
    return this.#db
      .execute(this.#sql.gone.item, [BigInt(number)])
      .map(([table, key, name, value]) => ({
        table: String(table),
        key: String(key),
        op: "gone",
        old: {},
        new: { [String(name)]: JSON.parse(String(value)) as unknown },
        current: {},
      }));
  }

  /** The number of a refused or held transaction by its id. Throws `UsageError` (`no_refused`). */
  waiting(item: string): number {
    const [found] = this.#db.execute(this.#sql.transactions.inbox_item, [item]);
    if (found === undefined)
      throw new UsageError(`no refused change has the id ${item}`, "no_refused");
    if (found[1] !== 0n)
      throw new UsageError(
        `change ${item} is set aside until the server has decided about it: sync first`,
        "undecided",
      );
    return whole(found[0]);
  }

  /** Return what is refused or held. */
  numbers(): Set<number> {
    return new Set(
      this.#db.execute(this.#sql.transactions.stopped).map(([number]) => whole(number)),
    );
  }

  /** Held transactions, in order, what they rest on, and the code they wait with. */
  held(): { readonly number: number; readonly after: readonly number[]; readonly code: string }[] {
    return this.#db.execute(this.#sql.transactions.held).map(([number, after, code]) => ({
      number: whole(number),
      after: JSON.parse(String(after)) as number[],
      code: String(code),
    }));
  }

  /** Say why a held transaction stays; what it was held by is named until another is. */
  noteHeld({ number, code, message, heldBy }: StillHeld): void {
    this.#db.execute(this.#sql.transactions.set_held, [
      code,
      message,
      BigInt(heldBy),
      BigInt(number),
    ]);
  }

  /** Make the changes of a refused transaction once more, on the rows as they are now. Throws `UsageError`
   * (`no_row`, `gone`). */
  writeAgain(number: number): void {
    if (number < 0)
      throw new UsageError(
        `change ${number} was made to a column or table that is gone: write its value to where it ` +
          "belongs now, and discard it",
        "gone",
      );
    const rows = this.notes(number).map(([table, note]) => {
      const overlay = this.overlay(table);
      const row = overlay.visible(note.key);
      if (row === null && note.was && note.now)
        throw new UsageError(
          `change ${number} updates a row of ${table.name} that is no longer on this device ` +
            `(${note.key}): discard it, or insert the row again`,
          "no_row",
        );
      const data = fold(table, row === null ? null : dataOf(table, row), note);
      const again: Row | null = data === null ? null : assemble(table, note.key, data);
      return { overlay, key: note.key, again };
    });
    const write = (): void => rows.forEach(({ overlay, key, again }) => overlay.write(key, again));
    try {
      this.#db.savepoint("holdfast_again", write);
    } catch (error) {
      if (!(error instanceof ConstraintFailed)) throw error;
      // Unique values may change hands within the transaction; foreign keys wait for its end.
      for (const { overlay, key } of rows) overlay.write(key, null);
      write();
    }
  }

  /** Remove a refused or held transaction from the inbox. */
  forget(number: number): void {
    for (const table of this.#database.program.tables)
      this.#db.execute(this.#database.program.statements(table).delete_group, [BigInt(number)]);
    this.#db.execute(this.#sql.transactions.remove, [BigInt(number)]);
    if (number < 0) this.#db.execute(this.#sql.gone.remove, [BigInt(number)]);
  }

  /** The noted changes of a transaction, with their tables. */
  notes(number: number): [Table, CapturedChange][] {
    return this.#database.program.tables.flatMap((table) =>
      this.#db
        .execute(this.#database.program.statements(table).changes, [BigInt(number), BigInt(number)])
        .map((row): [Table, CapturedChange] => [table, noteOf(table, row)]),
    );
  }

  overlay(table: Table): Overlay {
    return new Overlay(this.#db, table, this.#database.program.statements(table));
  }

  #describe(table: Table, note: CapturedChange): RefusedChange {
    const bare = { table: table.name, key: note.key, old: {}, new: {}, current: {} };
    try {
      const message = changeMessage(table, note);
      const fresh = shownAll(table, message.new ?? {});
      const old = shownAll(table, message.old ?? {});
      const row = this.overlay(table).visible(note.key);
      const current = Object.fromEntries(
        Object.keys(row === null ? {} : fresh).map((name) => [name, shownValue(table, row, name)]),
      );
      return { ...bare, op: message.op, old, new: fresh, current };
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      return { ...bare, op: "", error: error.message };
    }
  }
}

/** Return what was chosen, for each column. Throws `UsageError` (`bad_choice`) for a part of a group. */
function wiresOf(cell: string, chosen: unknown): unknown[] {
  const names = columnsOf(cell);
  if (names.length === 1) return [chosen];
  const given = typeof chosen === "object" && chosen !== null ? chosen : {};
  const found: Readonly<Record<string, unknown>> = { ...given };
  if (Object.keys(found).length !== names.length || names.some((name) => !(name in found)))
    throw new UsageError(
      `${names.join(", ")} are one decision: give all of them, by name`,
      "bad_choice",
    );
  return names.map((name) => found[name]);
}

function shownValue(table: Table, row: Row | null, name: string): unknown {
  const column = table.byName.get(name) as Column;
  const value: Value = row?.[table.positions.get(name) ?? -1] ?? null;
  return policyOf(column).show(toWire(column.type, value));
}

/** Return what a change says of columns, as people read it. */
function shownAll(table: Table, said: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(said).map(([name, wire]) => {
      const column = table.byName.get(name) as Column;
      return [name, policyOf(column).show(wire as Wire)];
    }),
  );
}

/** Whose `deviceValue` is, and whose `serverValue`. */
const parties = (open: Pick<Conflict, "user" | "device" | "theirUser" | "theirDevice">) =>
  [
    { user: open.user, device: open.device },
    { user: open.theirUser, device: open.theirDevice },
  ] as const;

function conflict(row: Row, asking: Party): Conflict {
  const text = (at: number): string => String(row[at]);
  const json = (at: number): unknown => {
    const value = row[at];
    return typeof value === "string" ? (JSON.parse(value) as unknown) : null;
  };
  const people = {
    user: text(8),
    device: text(9),
    theirUser: text(11),
    theirDevice: text(12),
  };
  return {
    ...people,
    yours: yours(...parties(people), asking),
    id: text(0),
    table: text(1),
    key: text(2),
    column: text(3),
    kind: text(4),
    base: json(5),
    deviceValue: json(6),
    serverValue: json(7),
    mine: json(6),
    theirs: json(7),
    at: whole(row[10]),
    theirAt: typeof row[13] === "bigint" ? Number(row[13]) : null,
  };
}
