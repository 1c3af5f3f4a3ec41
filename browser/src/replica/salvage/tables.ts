/**
 * Tables of a damaged file by their columns: rows that are whole, and what is missing of them.
 *
 * Knows: trees, the SQL that a table was made with, and that an index has the keys of its table's rows
 * once more. Must not know: what the tables are for.
 */

import { HoldfastError } from "../../core/errors.js";
import type { Value } from "../../core/values.js";
import type { Connection } from "../../sqlite/connection.js";
import type { StoredRecord } from "./records.js";
import type { StoredObject, TreeRows, Trees } from "./trees.js";

/** A row by its columns; those of a row that is cut off are not there. */
export type RowValues = ReadonlyMap<string, Value>;
/** Whether a row may be one of a table. */
type Fits = (row: RowValues) => boolean;

/** Rows of one table by rowid, or in the order of their key where there is none. `holes`: pairs of rowids
 * between which some may be missing; null: from the begin, or to the end. */
export interface TableFinds {
  readonly name: string;
  readonly rows: Map<number, RowValues>;
  holes: (readonly [number | null, number | null])[];
}

/** Columns as they lie in a record. `order`: their places, for a table without rowids has its key first. */
interface Layout {
  readonly columns: readonly string[];
  readonly defaults: readonly Value[];
  readonly rowidColumn: string;
  readonly order: readonly number[];
}

/** A lost tree as rows of a table. `isExact`: they have as many columns as it has. */
interface Claim {
  readonly table: TableFinds;
  readonly rows: ReadonlyMap<number, RowValues>;
  readonly isExact: boolean;
}

/** The tables of one damaged file. */
export class Tables {
  /** What tables were made with, where the file does not say so any more. */
  known: ReadonlyMap<string, string> = new Map();
  readonly #trees: Trees;
  readonly #scratch: () => Connection;
  readonly #lost: readonly TreeRows[];
  readonly #found = new Map<string, TableFinds>();
  readonly #claims = new Map<number, Claim[]>();

  /** `scratch`: makes an empty database in memory. */
  constructor(trees: Trees, scratch: () => Connection) {
    this.#trees = trees;
    this.#scratch = scratch;
    this.#lost = trees.lostTrees();
  }

  get objects(): ReadonlyMap<string, StoredObject> {
    return this.#trees.objects;
  }

  /** A table's rows; null: nobody knows of such a table. `takesLost`: `fits` tells its rows from those of
   * others, so that trees which nothing leads to are looked at, too. */
  read(name: string, fits: Fits, takesLost = true): TableFinds | null {
    const stored = this.objects.get(name);
    const own = this.#layout(name, stored?.sql ?? "");
    const known = this.#layout(name, this.known.get(name) ?? "");
    const layout = known !== null && (own === null || isGarbled(own, known)) ? known : own;
    if (layout === null) return null;
    const tree: TreeRows =
      stored === undefined
        ? { cells: [], holes: [0], reached: new Set() }
        : this.#trees.rows(stored.root);
    const found: TableFinds = { name, rows: new Map(), holes: [] };
    this.#found.set(name, found);
    const holes = new Set(tree.holes);
    tree.cells.forEach((cell, place) => {
      const row = rowOf(layout, cell);
      if (!cell.isWhole || !fits(row)) {
        holes.add(place);
        // The long texts of the state come last.
        if (name === "holdfast_state" && fits(row)) found.rows.set(Number(cell.rowid), row);
        return;
      }
      found.rows.set(cell.rowid === 0n ? place + 1 : Number(cell.rowid), row);
    });
    for (const place of [...holes].sort((left, right) => left - right)) {
      const [before, behind] = [tree.cells[place - 1], tree.cells[place]];
      found.holes.push([
        before === undefined ? null : Number(before.rowid),
        behind === undefined ? null : Number(behind.rowid),
      ]);
    }
    const isPlain = layout.order.every((place, at) => place === at);
    if (takesLost && found.holes.length > 0 && isPlain) this.#claimLost(layout, found, fits);
    return found;
  }

  /** Note the lost trees of which the rows fit, and nothing of them may be another's. */
  #claimLost(layout: Layout, found: TableFinds, fits: Fits): void {
    const width = layout.columns.length;
    this.#lost.forEach((tree, place) => {
      const whole = tree.cells.filter(({ isWhole }) => isWhole);
      const widest = Math.max(0, ...whole.map(({ values }) => values.length));
      const rows = new Map(whole.map((cell) => [Number(cell.rowid), rowOf(layout, cell)]));
      if (rows.size === 0 || widest > width || ![...rows.values()].every(fits)) return;
      const claims = this.#claims.get(place) ?? [];
      claims.push({ table: found, rows, isExact: widest === width });
      this.#claims.set(place, claims);
    });
  }

  /** Give each lost tree to the one table that it can be of: by its form, or as `proves` says. A table that
   * the file does not list any more is whole again when it has got one whole tree, or none, and there is
   * an empty tree for each such table. */
  settleClaims(proves: (name: string, rows: ReadonlyMap<number, RowValues>) => boolean): void {
    const given = new Map<string, TreeRows[]>();
    for (const [place, claims] of this.#claims) {
      const exact = claims.filter(({ isExact }) => isExact);
      let likely = exact.length > 0 ? exact : claims;
      if (likely.length > 1) likely = likely.filter(({ table, rows }) => proves(table.name, rows));
      const [one] = likely;
      const tree = this.#lost[place];
      if (one === undefined || likely.length > 1 || tree === undefined) continue;
      for (const [rowid, row] of one.rows)
        if (!one.table.rows.has(rowid)) one.table.rows.set(rowid, row);
      given.set(one.table.name, [...(given.get(one.table.name) ?? []), tree]);
    }
    const unlisted = [...this.known]
      .filter(([name, sql]) => !this.objects.has(name) && !sql.includes("WITHOUT ROWID"))
      .map(([name]) => name);
    const left = unlisted.filter((name) => !given.has(name)).length;
    for (const name of unlisted) {
      const trees = given.get(name) ?? [];
      const isWhole =
        trees.length === 1
          ? trees[0]?.holes.length === 0
          : trees.length === 0 && left <= this.#trees.emptyLost;
      const found = this.#found.get(name);
      if (isWhole && found !== undefined) found.holes = [];
    }
  }

  /** The entries of an index, the rowid last, and whether none is missing; null: it is not known where
   * it is. */
  index(
    name: string,
  ): { readonly entries: readonly (readonly Value[])[]; isWhole: boolean } | null {
    const stored = this.objects.get(name);
    if (stored?.kind !== "index") return null;
    const tree = this.#trees.rows(stored.root);
    const entries = tree.cells.filter(({ isWhole }) => isWhole).map(({ values }) => values);
    return { entries, isWhole: tree.holes.length === 0 };
  }

  /** Return how a table's rows lie in records: SQLite tells it of one made likewise. */
  #layout(name: string, sql: string): Layout | null {
    if (!sql.toUpperCase().startsWith("CREATE TABLE")) return null;
    const scratch = this.#scratch();
    try {
      scratch.script(sql);
      const columns = scratch
        .execute("SELECT name, type, dflt_value, pk, hidden FROM pragma_table_xinfo(?)", [name])
        .filter(([, , , , hidden]) => hidden !== 2n);
      const [about] = scratch.execute("SELECT wr FROM pragma_table_list(?) WHERE schema = 'main'", [
        name,
      ]);
      const defaults = columns.map(([, , text]) =>
        typeof text === "string" ? (scratch.execute(`SELECT ${text}`)[0]?.[0] ?? null) : null,
      );
      const names = columns.map(([column]) => String(column));
      const keys = columns
        .map(([, , , pk], place) => ({ pk: Number(pk), place }))
        .filter(({ pk }) => pk > 0)
        .sort((left, right) => left.pk - right.pk)
        .map(({ place }) => place);
      const places = names.map((_, place) => place);
      const [only] = keys;
      const isAlias =
        keys.length === 1 && String(columns[only ?? 0]?.[1]).toUpperCase() === "INTEGER";
      const hasRowid = about?.[0] !== 1n;
      return {
        columns: names,
        defaults,
        rowidColumn: hasRowid && isAlias ? (names[only ?? 0] ?? "") : "",
        order: hasRowid ? places : [...keys, ...places.filter((place) => !keys.includes(place))],
      };
    } catch (error) {
      if (error instanceof HoldfastError) return null;
      throw error;
    } finally {
      scratch.close();
    }
  }
}

/** Return whether a name of a column cannot be right. Columns that came later stand behind. */
function isGarbled(layout: Layout, known: Layout): boolean {
  const isSame = layout.columns.length === known.columns.length;
  return isSame && layout.columns.some((name) => !known.columns.includes(name));
}

/** A record's values by column; what was added to the table later has its default. */
function rowOf(layout: Layout, { values, isWhole, rowid }: StoredRecord): RowValues {
  const row = new Map<string, Value>();
  layout.order.forEach((column, place) => {
    const name = layout.columns[column] ?? "";
    const value = values[place];
    if (value !== undefined) row.set(name, value);
    else if (isWhole) row.set(name, layout.defaults[column] ?? null);
  });
  if (layout.rowidColumn !== "") row.set(layout.rowidColumn, rowid);
  return row;
}
