/**
 * The lineage of a schema: what has become of each table and column of an older generation.
 *
 * Knows: two programs' schemas, and the declared steps between them. Must not know: SQL, or where rows
 * are. A step is declared for everything that is not additive; what is left of the difference, once the
 * declared steps have been taken, is either additive or in the way. In Python `schema/lineage.py`.
 */

import { type Column, type Table, tableOf } from "../../core/schema.js";
import type {
  MigrationStep,
  ReplicaProgram,
  Schema,
  Table as TableJson,
} from "../../protocol/program.generated.js";
import { sameJson, type Step, tableDifference } from "./difference.js";

/** One column of a layer: its name, the column below that it is taken from, and the expression over the
 * columns below that takes its place, if it is converted. */
export interface LayerColumn {
  readonly name: string;
  readonly source: string;
  readonly convert: string | null;
}

/** One table of the newer generation that the older one has. */
export interface TableLineage {
  readonly old: Table;
  readonly table: Table;
  /** Both as they are declared. */
  readonly oldJson: TableJson;
  readonly json: TableJson;
  /** How rows of the old table become rows of the new one, but for columns that are added. */
  readonly layers: readonly (readonly LayerColumn[])[];
  /** The old name of each column that was there, by its new one. */
  readonly columns: ReadonlyMap<string, string>;
  /** The new names of columns that are still there, by their old ones. */
  readonly renamed: ReadonlyMap<string, string>;
  /** Columns, by their new names, whose values are converted. */
  readonly converted: ReadonlySet<string>;
  /** What differs besides renamings, and what is gone. */
  readonly steps: readonly Step[];
  /** Whether the table is made anew: it is not merely added to. */
  readonly isReshaped: boolean;
  /** Columns that are no longer there. */
  readonly gone: readonly Column[];
  /** Columns that were not there. */
  readonly added: readonly Column[];
}

/** Steps from an older generation to a newer one. */
export interface Lineage {
  /** By the new name, all tables that were there, the engine's own among them. */
  readonly tables: ReadonlyMap<string, TableLineage>;
  /** The same by the old name. */
  readonly byOld: ReadonlyMap<string, TableLineage>;
  readonly gone: readonly Table[];
  /** Steps that are neither additive nor declared. */
  readonly hindrances: readonly Step[];
  /** Whether anything but additive steps is taken. */
  readonly isDeclared: boolean;
}

const CHECKS = ["add_check", "tighten_check"];
const ABOUT_COLUMN = [
  "change_type",
  "change_policy",
  "change_nullable",
  "change_default",
  "change_fill",
  "change_correction",
];

/** A table on its way through the steps. */
class Walk {
  readonly old: TableJson;
  /** The column of the last layer, by its present name. */
  columns: Map<string, string>;
  /** The old column, by its present name. */
  origin: Map<string, string>;
  readonly layers: LayerColumn[][] = [];
  converted = new Set<string>();
  #declared: (readonly [string, string])[] = [];
  #retyped = new Set<string>();

  constructor(old: TableJson) {
    this.old = old;
    this.columns = ownNames(old);
    this.origin = ownNames(old);
  }

  take({ kind, column: name = "", to = "", convert = null }: MigrationStep): void {
    if (kind === "drop_column") {
      this.columns.delete(name);
      this.origin.delete(name);
    } else if (kind === "rename_column") {
      if (this.columns.has(name)) this.#rename(name, to);
    } else {
      this.#declared.push([kind, name]);
      if (kind === "change_type") this.#retyped.add(name);
      if (convert === null || !this.columns.has(name)) return;
      const present = [...this.columns];
      this.layers.push(present.map(([one, source]) => ({ name: one, source, convert: null })));
      this.columns = new Map(present.map(([one]) => [one, one]));
      this.layers.push(
        present.map(([one]) => ({
          name: one,
          source: one,
          convert: one === name ? convert : null,
        })),
      );
      this.converted.add(name);
    }
  }

  #rename(name: string, to: string): void {
    const now = (one: string): string => (one === name ? to : one);
    const named = (all: ReadonlyMap<string, string>): Map<string, string> =>
      new Map([...all].map(([one, source]) => [now(one), source]));
    this.columns = named(this.columns);
    this.origin = named(this.origin);
    this.converted = new Set([...this.converted].map(now));
    this.#retyped = new Set([...this.#retyped].map(now));
    this.#declared = this.#declared.map(([kind, listed]) => [
      kind,
      listed.split(",").map(now).join(","),
    ]);
  }

  covers({ kind, column }: Step): boolean {
    const kinds = CHECKS.includes(kind) ? CHECKS : [kind];
    if (ABOUT_COLUMN.includes(kind) && this.#retyped.has(column)) return true;
    return this.#declared.some(([one, listed]) => kinds.includes(one) && listed === column);
  }
}

/** Return what leads from one generation to a newer one, by its declared steps. */
export function lineage(from: ReplicaProgram, to: ReplicaProgram): Lineage {
  const [old, fresh] = [from.schema, to.schema];
  const { walks, gone } = walked(old, fresh);
  const renamed = new Map([...walks].map(([name, walk]) => [walk.old.name, name]));
  const tables = new Map<string, TableLineage>();
  const hindrances: Step[] = [];
  for (const table of fresh.tables) {
    const walk = walks.get(table.name);
    if (walk === undefined) continue;
    const found = ofTable(walk, table, renamed);
    tables.set(table.name, found);
    hindrances.push(...found.steps.filter((one) => !(one.additive || walk.covers(one))));
  }
  for (const [name, walk] of walks)
    if (!tables.has(name)) {
      const text = `table ${walk.old.name} is gone`;
      hindrances.push({ kind: "drop_table", table: name, column: "", text, additive: false });
      gone.push(walk.old);
    }
  for (const table of to.engine_tables) {
    const known = from.engine_tables.find(({ name }) => name === table.name);
    if (known !== undefined) tables.set(table.name, unchanged(known, table));
  }
  if (old.name !== fresh.name) {
    const text = `the schema is named ${fresh.name}, it was ${old.name}`;
    hindrances.push({ kind: "change_name", table: "", column: "", text, additive: false });
  }
  const all = [...tables.values()];
  return {
    tables,
    byOld: new Map(all.map((one) => [one.old.name, one])),
    gone: old.tables.filter((one) => gone.includes(one)).map(tableOf),
    hindrances,
    isDeclared: gone.length > 0 || all.some(({ isReshaped }) => isReshaped),
  };
}

/** All tables after the declared steps, by their present names; and those that are gone. */
function walked(old: Schema, fresh: Schema): { walks: Map<string, Walk>; gone: TableJson[] } {
  let walks = new Map(old.tables.map((table) => [table.name, new Walk(table)]));
  const gone: TableJson[] = [];
  const [since, upTo] = [old.generation ?? 1, fresh.generation ?? 1];
  const taken = (fresh.migrations ?? []).filter(
    ({ generation }) => since < generation && generation <= upTo,
  );
  for (const step of taken.flatMap(({ steps }) => steps)) {
    const walk = walks.get(step.table);
    if (walk === undefined) continue;
    if (step.kind === "drop_table") {
      gone.push(walk.old);
      walks.delete(step.table);
    } else if (step.kind === "rename_table") {
      const to = step.to ?? "";
      walks = new Map([...walks].map(([name, one]) => [name === step.table ? to : name, one]));
    } else walk.take(step);
  }
  return { walks, gone };
}

function ownNames({ columns }: TableJson): Map<string, string> {
  return new Map(columns.map(({ name }) => [name, name]));
}

function ofTable(walk: Walk, json: TableJson, renamed: ReadonlyMap<string, string>): TableLineage {
  const table = tableOf(json);
  const isThere = ([name]: readonly [string, string]): boolean => table.byName.has(name);
  const columns = new Map([...walk.columns].filter(isThere));
  const origin = new Map([...walk.origin].filter(isThere));
  const undeclared = [...walk.origin.keys()]
    .filter((name) => !table.byName.has(name))
    .map((name) => ({
      kind: "drop_column",
      table: json.name,
      column: name,
      text: `${json.name}: column ${name} is gone`,
      additive: false,
    }));
  const told = [...tableDifference(present(walk, json.name, renamed), json)];
  const raw = [...tableDifference(walk.old, json)];
  const last = table.columns.flatMap(({ name }) => {
    const source = columns.get(name);
    return source === undefined ? [] : [{ name, source, convert: null }];
  });
  const own = ownNames(walk.old);
  const kept = new Set(origin.values());
  const old = tableOf(walk.old);
  return {
    old,
    table,
    oldJson: walk.old,
    json,
    layers: [...walk.layers, last],
    columns: origin,
    renamed: new Map([...origin].map(([name, was]) => [was, name])),
    converted: new Set([...walk.converted].filter((name) => columns.has(name))),
    steps: [...undeclared, ...told.filter(({ kind }) => kind !== "drop_column")],
    isReshaped:
      walk.old.name !== json.name ||
      !raw.every(({ additive }) => additive) ||
      walk.converted.size > 0 ||
      origin.size !== own.size ||
      [...origin].some(([name, was]) => name !== was),
    gone: old.columns.filter(({ name }) => !kept.has(name)),
    added: table.columns.filter(({ name }) => !origin.has(name)),
  };
}

/** One of the engine's own tables, which has no declared steps. */
function unchanged(old: TableJson, json: TableJson): TableLineage {
  const table = tableOf(json);
  const columns = ownNames(json);
  return {
    old: tableOf(old),
    table,
    oldJson: old,
    json,
    layers: [],
    columns,
    renamed: columns,
    converted: new Set(),
    steps: [],
    isReshaped: false,
    gone: [],
    added: [],
  };
}

/** The old table under the names that it has after the steps, without what is gone. */
function present(walk: Walk, name: string, tables: ReadonlyMap<string, string>): TableJson {
  const { old } = walk;
  const now = new Map([...walk.origin].map(([one, source]) => [source, one]));
  const nowOf = (one: string): string => now.get(one) ?? one;
  const isThere = (names: readonly string[]): boolean => names.every((one) => now.has(one));
  return {
    ...old,
    name,
    key: old.key.map(nowOf),
    columns: old.columns
      .filter((one) => now.has(one.name))
      .map((one) => ({ ...one, name: nowOf(one.name) })),
    scopes: old.scopes.map((one) =>
      one.replace(/\{([a-z][a-z0-9_]*)\}/g, (_, part: string) => `{${nowOf(part)}}`),
    ),
    unique: (old.unique ?? []).filter(isThere).map((one) => one.map(nowOf)),
    foreign_keys: (old.foreign_keys ?? []).flatMap((one) => {
      const table = tables.get(one.table);
      return table === undefined || !isThere(one.columns)
        ? []
        : [{ ...one, columns: one.columns.map(nowOf), table }];
    }),
    checks: (old.checks ?? [])
      .filter(({ column }) => now.has(column))
      .map((one) => ({ ...one, column: nowOf(one.column) })),
    groups: (old.groups ?? []).filter(isThere).map((one) => one.map(nowOf)),
  };
}

/** Return whether the names of what is kept differ, so that it has to be written anew. */
export function namesDiffer({ gone, columns }: TableLineage): boolean {
  return gone.length > 0 || [...columns].some(([name, was]) => name !== was);
}

/** Return whether a table has the same checks as before on the columns that it had. */
export function hasSameChecks({ oldJson, json }: TableLineage): boolean {
  const known = new Set(oldJson.columns.map(({ name }) => name));
  const checks = ({ checks: all = [] }: TableJson): unknown =>
    all.filter(({ column }) => known.has(column));
  return sameJson(checks(oldJson), checks(json));
}
