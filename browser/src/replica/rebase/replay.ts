/**
 * Replay: the unsettled transactions, made again on rows that hold server truth.
 *
 * Knows: in which order, and which of them yields when not all can be shown. Must not know: messages
 * or the network. Upholds I15, I16 and I32, and that server truth never fails to apply.
 *
 * All changes of the rows that news have touched are first tried together, and what was set aside
 * before with them. When a row does not fit, one of the transactions that have to do with it is set
 * aside: the highest-numbered one, whole, in all tables, with what builds on it. So it goes on until
 * all rows fit; then each that was set aside is tried once more, the lowest number first.
 */

import { ConstraintFailed } from "../../core/errors.js";
import { byCodePoint, type Row } from "../../core/keys.js";
import type { Connection } from "../../sqlite/connection.js";
import { SetAside, buildsOn, type AsideReason } from "../storage/aside.js";
import type { LocalDatabase } from "../storage/database.js";
import { assemble, dataOf, foldAll, type CapturedChange, type Overlay } from "./overlay.js";
import { type Orphan, orphaned, type RowPlace, References, refersAlike } from "./references.js";

/** The row a person should see: truth and the changes on it that are not set aside. */
export function shown(overlay: Overlay, key: string, hidden: ReadonlySet<number>): Row | null {
  const truth = overlay.truth(key, new Set());
  const base = truth === null ? null : dataOf(overlay.table, truth);
  const { data } = foldAll(overlay.table, base, overlay.notes(key), hidden);
  return data === null ? null : assemble(overlay.table, key, data);
}

/** A row as replay sees it: the server's version, and the unsettled changes on it. */
interface Standing {
  readonly place: RowPlace;
  readonly overlay: Overlay;
  readonly notes: readonly CapturedChange[];
  truth: Row | null;
}

type Rows = Set<Standing>;

/** The replay within one application of news; `decided`: transactions that it settles. */
export class Replay {
  readonly #database: LocalDatabase;
  readonly #db: Connection;
  readonly #overlays: ReadonlyMap<string, Overlay>;
  readonly #decided: ReadonlySet<number>;
  readonly #aside: SetAside;
  readonly #references: References;
  readonly #standing = new Map<string, Standing>();
  readonly #suspects: Rows = new Set();
  #rows: Map<number, RowPlace[]> | null = null;

  constructor(
    database: LocalDatabase,
    overlays: ReadonlyMap<string, Overlay>,
    decided: ReadonlySet<number> = new Set(),
  ) {
    this.#database = database;
    this.#db = database.connection;
    this.#overlays = overlays;
    this.#decided = decided;
    this.#aside = new SetAside(database);
    this.#references = new References(overlays);
  }

  /** Replay what was changed on the rows `again`; `removed`: rows that news removed. */
  run(
    again: ReadonlyMap<string, ReadonlySet<string>>,
    removed: ReadonlyMap<string, ReadonlySet<string>>,
  ): void {
    const wanted: Rows = new Set();
    for (const [table, keys] of again)
      for (const key of keys) {
        const row = this.#stand({ table, key });
        if (row.notes.length > 0) wanted.add(row);
      }
    for (const row of wanted) this.#suspects.add(row);
    for (const place of this.#references.bereaved(removed)) this.#suspects.add(this.#stand(place));
    const fit = ordered(wanted).every((row) => this.#against(row) === null);
    if (!fit) takeOff(wanted);
    if (!fit || this.#orphan() !== null) {
      this.#settle(fit ? new Set() : wanted);
      this.#rise();
    }
    if (this.#aside.before.size > 0 || this.#aside.hidden.size > 0) this.#aside.store();
  }

  // --- rows ---------------------------------------------------------------------------------------

  #stand(place: RowPlace): Standing {
    const name = nameOf(place);
    let found = this.#standing.get(name);
    if (found === undefined) {
      const overlay = this.#overlays.get(place.table) as Overlay;
      const truth = overlay.truth(place.key, this.#decided);
      found = { place, overlay, truth, notes: overlay.notes(place.key) };
      this.#standing.set(name, found);
    }
    return found;
  }

  /** The changes of a row that are not set aside. */
  #shown({ notes }: Standing): CapturedChange[] {
    return notes.filter(({ tx }) => !this.#aside.hidden.has(tx));
  }

  /** Return what the table should hold; and a change that has nothing to stand on. */
  #target({
    place,
    overlay,
    truth,
    notes,
  }: Standing): readonly [Row | null, CapturedChange | null] {
    const base = truth === null ? null : dataOf(overlay.table, truth);
    // A change cannot revive its row when it builds on an insert that was refused.
    const { data, lost } = foldAll(
      overlay.table,
      base,
      notes,
      this.#aside.hidden,
      (note) => note.base > 0 || this.#aside.lostGround(note.tx) === null,
    );
    return [data === null ? null : assemble(overlay.table, place.key, data), lost];
  }

  /** Make the table hold what it should, or say what is against it. */
  #against(row: Standing): ConstraintFailed | CapturedChange | null {
    const [target, lost] = this.#target(row);
    if (lost !== null) return lost;
    const attempt = (): ConstraintFailed | null => row.overlay.attempt(row.place.key, target);
    const failed = attempt();
    if (failed === null || this.#shown(row).length > 0) return failed;
    return this.#database.unchecked(attempt); // the server's row, as it is
  }

  #colliding(row: Standing): RowPlace[] {
    const [target] = this.#target(row);
    if (target === null) return [];
    const { table } = row.place;
    return row.overlay.colliding(target).map((key) => ({ table, key }));
  }

  /** The rows that a transaction changes. */
  #of(number: number): Rows {
    if (this.#rows === null) {
      this.#rows = new Map();
      for (const [table, overlay] of this.#overlays)
        for (const [tx, key] of overlay.touched(...this.#aside.span())) {
          const places = this.#rows.get(tx);
          if (places === undefined) this.#rows.set(tx, [{ table, key }]);
          else places.push({ table, key });
        }
    }
    const rows = (this.#rows.get(number) ?? []).map((place) => this.#stand(place));
    return new Set(rows.filter(({ notes }) => notes.length > 0));
  }

  // --- setting aside ------------------------------------------------------------------------------

  /** Set transactions aside until every row fits. `left`: rows to be written. */
  #settle(wanted: Rows): void {
    let left = wanted;
    for (;;) {
      left = this.#write(left);
      const [row] = ordered(left);
      if (row !== undefined) {
        left = new Set([...left, ...this.#yield(row)]);
        continue;
      }
      const orphan = this.#orphan();
      if (orphan === null) return;
      const culprit = Math.max(...this.#culprits(orphan));
      this.#suspects.add(this.#stand(orphan.child)).add(this.#stand(orphan.parent));
      left = this.#hide(culprit, this.#because(orphan, culprit));
    }
  }

  /** Write rows, in turns, as long as any more of them fits; those that do not. */
  #write(wanted: Rows): Rows {
    let left = wanted;
    while (left.size > 0) {
      const failed: Rows = new Set();
      const drawn: Rows = new Set();
      for (const row of ordered(left)) {
        const against = this.#against(row);
        if (against === null) {
          this.#suspects.add(row);
          continue;
        }
        failed.add(row);
        if (against instanceof ConstraintFailed && against.kind === "unique") {
          for (const place of this.#colliding(row)) {
            const isNew = !this.#standing.has(nameOf(place));
            const other = this.#stand(place);
            if (isNew && other.notes.length > 0) drawn.add(other);
          }
        }
      }
      takeOff(drawn);
      if (drawn.size === 0 && failed.size === left.size) return failed;
      left = new Set([...failed, ...drawn]);
    }
    return left;
  }

  /** A row does not fit: set aside what yields; the rows to be written again. */
  #yield(row: Standing): Rows {
    const against = this.#against(row);
    if (against === null) return new Set();
    if (!(against instanceof ConstraintFailed))
      return this.#hide(against.tx, this.#nothingToStandOn(row, against));
    const others = against.kind === "unique" ? this.#colliding(row) : [];
    const numbers = [row, ...others.map((place) => this.#stand(place))].flatMap((one) =>
      this.#shown(one).map(({ tx }) => tx),
    );
    if (numbers.length > 0) {
      const culprit = numbers.reduce((a, b) => Math.max(a, b));
      return this.#hide(culprit, why(row, against, others));
    }
    if (others.length === 0) throw against;
    // Its values are another row's by now: it is gone, and the server has forgotten its removal while
    // we were away.
    row.truth = null;
    return new Set();
  }

  #hide(number: number, reason: AsideReason): Rows {
    const rows: Rows = new Set(this.#aside.hide(number, reason).flatMap((tx) => [...this.#of(tx)]));
    takeOff(rows);
    return rows;
  }

  /** Show again, whole, what fits after all; each that does may make room for another. */
  #rise(): void {
    const { hidden } = this.#aside;
    for (let before = -1; hidden.size !== before;) {
      before = hidden.size;
      for (const number of [...hidden].sort((a, b) => a - b)) this.#show(number);
    }
  }

  /** Show a transaction if it can be; if not, it is known why. */
  #show(number: number): void {
    const { hidden, reasons } = this.#aside;
    const earlier = this.#aside.stoppedBy(number);
    let reason: AsideReason | null;
    if (earlier > 0) {
      reason = buildsOn(earlier);
    } else {
      this.#db.execute("SAVEPOINT holdfast_rise");
      hidden.delete(number);
      reason = this.#againstAll(number);
      if (reason !== null) this.#db.execute("ROLLBACK TO holdfast_rise");
      this.#db.execute("RELEASE holdfast_rise");
    }
    if (reason === null) return;
    reasons.set(number, reason);
    hidden.add(number);
  }

  /** Write the rows of a transaction with it; what is against it. */
  #againstAll(number: number): AsideReason | null {
    const rows = this.#of(number);
    takeOff(rows);
    for (const row of ordered(rows)) {
      const against = this.#against(row);
      if (against instanceof ConstraintFailed) return why(row, against, this.#colliding(row));
      if (against !== null) return this.#nothingToStandOn(row, against);
    }
    this.#suspects.clear();
    for (const row of rows) this.#suspects.add(row);
    const orphan = this.#orphan();
    return orphan === null ? null : this.#because(orphan, number);
  }

  // --- references ---------------------------------------------------------------------------------

  /** A row whose parent is not there, though some transaction could be set aside for it. */
  #orphan(): Orphan | null {
    for (const suspect of [...this.#suspects].sort(byPlace)) {
      for (const orphan of this.#references.orphans(suspect.place))
        if (this.#culprits(orphan).length > 0) return orphan;
      this.#suspects.delete(suspect);
    }
    return null;
  }

  /** Return what shows the child, or hides the parent. What the server itself shows is nobody's. */
  #culprits(orphan: Orphan): number[] {
    const [child, parent] = [this.#stand(orphan.child), this.#stand(orphan.parent)];
    const found = this.#shown(parent).filter(({ now }) => !now);
    if (!refersAlike(orphan, child.truth)) found.push(...this.#shown(child));
    else if (parent.truth === null) return [];
    return found.map(({ tx }) => tx);
  }

  // --- reasons ------------------------------------------------------------------------------------

  #nothingToStandOn({ place }: Standing, note: CapturedChange): AsideReason {
    const heldBy = this.#aside.lostGround(note.tx) ?? 0;
    return {
      code: "row_gone",
      message: `${place.table} ${place.key} is not there`,
      field: "",
      heldBy,
    };
  }

  #because(orphan: Orphan, number: number): AsideReason {
    return orphaned(
      orphan,
      this.#stand(orphan.parent).notes.some(({ tx }) => tx === number),
    );
  }
}

/** One word for a place: names of tables have no slash. */
function nameOf({ table, key }: RowPlace): string {
  return `${table}/${key}`;
}

/** By the first transaction of a row. */
function ordered(rows: Iterable<Standing>): Standing[] {
  const first = ({ notes }: Standing): number => notes[0]?.tx ?? 0;
  return [...rows].sort((a, b) => first(a) - first(b) || byPlace(a, b));
}

function byPlace({ place: a }: Standing, { place: b }: Standing): number {
  return byCodePoint(a.table, b.table) || byCodePoint(a.key, b.key);
}

/** Free the unique values of these rows: they are written again. */
function takeOff(rows: Iterable<Standing>): void {
  for (const { overlay, place } of rows)
    if (overlay.table.unique.length > 0) overlay.write(place.key, null);
}

/** Return which constraint of which row is against it, and who has the value. */
function why(row: Standing, error: ConstraintFailed, others: readonly RowPlace[]): AsideReason {
  let message = `${row.place.table} ${row.place.key}: ${error.message}`;
  const [other] = others;
  if (other !== undefined) message += ` (${other.table} ${other.key} has it)`;
  const field = row.overlay.table.columns.find(
    ({ name }) =>
      error.message.includes(`"${name}"`) ||
      error.message.endsWith(`.${name}`) ||
      error.message.endsWith(`: ${name}`),
  );
  return { code: error.kind, message, field: field?.name ?? "", heldBy: 0 };
}
