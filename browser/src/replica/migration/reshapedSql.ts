/**
 * Statements that make rows of an older table into rows of a newer one, by declared steps.
 *
 * Knows: lineages of tables, and the expressions that the program has of each column. Must not know: which
 * rows, or who asks. In Python `sql/migration/reshape.py`: the same row becomes the same row everywhere.
 */

import type { ColumnType } from "../../core/values.js";
import type { ColumnReshaping } from "../../protocol/program.generated.js";
import type { TableLineage } from "./lineage.js";

/** By the names of columns, what the program knows of each. */
export type ReshapingColumns = Readonly<Record<string, ColumnReshaping>>;

const STORAGE: Partial<Record<ColumnType, string>> = {
  integer: "INTEGER",
  boolean: "INTEGER",
  timestamp: "INTEGER",
  real: "REAL",
  bytes: "BLOB",
};

/** A name as SQL has it. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
/** Names, with commas. */
export const listed = (names: readonly string[]): string => names.map(quoted).join(", ");

/** A query of the rows of the new table, all columns in declared order, from those of the old one; columns that
 * were not there have their defaults. */
function reshaped(
  { layers, table, columns, converted }: TableLineage,
  shapes: ReshapingColumns,
  of: string,
) {
  let source = of;
  const from = (what: readonly string[]): string =>
    `SELECT ${what.join(", ")} FROM (${source}) AS s`;
  for (const layer of layers)
    source = from(
      layer.map(
        ({ name, source: below, convert }) =>
          `${convert === null ? quoted(below) : `(${convert})`} AS ${quoted(name)}`,
      ),
    );
  return from(
    table.columns.map(({ name }) => {
      if (!columns.has(name)) return `${shapes[name]?.start ?? "NULL"} AS ${quoted(name)}`;
      return converted.has(name) ? `${shapes[name]?.coerced} AS ${quoted(name)}` : quoted(name);
    }),
  );
}

/** All rows of the old table as ones of the new, but for those whose converted values do not fit. */
export function reshapedTable(lineage: TableLineage, shapes: ReshapingColumns): string {
  const { old, converted } = lineage;
  const whole = `SELECT ${listed(old.columns.map(({ name }) => name))} FROM ${quoted(old.name)}`;
  const fits = [...converted].map((name) => `NOT coalesce(${shapes[name]?.misfits}, 0)`);
  return `SELECT * FROM (${reshaped(lineage, shapes, whole)}) WHERE ${fits.join(" AND ") || "1"}`;
}

/** The same of one row: the parameters are its columns in declared order, in storage values. */
export function reshapedValue(lineage: TableLineage, shapes: ReshapingColumns): string {
  const row = lineage.old.columns.map(
    ({ name, type }, at) => `CAST(?${at + 1} AS ${STORAGE[type] ?? "TEXT"}) AS ${quoted(name)}`,
  );
  return reshaped(lineage, shapes, `SELECT ${row.join(", ")}`);
}
