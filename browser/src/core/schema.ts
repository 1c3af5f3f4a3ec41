/**
 * A schema as a replica needs it: tables and columns with their defaults filled in.
 *
 * Knows: the schema's JSON form. Must not know: SQL or messages. The server has checked the schema;
 * here only its shape is read.
 */

import type { Column as ColumnJson, Table as TableJson } from "../protocol/program.generated.js";
import { SchemaError } from "./errors.js";
import { type MergePolicy, POLICIES } from "./merging/policies.js";
import { type ColumnType, fromWire, type Value } from "./values.js";

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly merge: MergePolicy;
  readonly nullable: boolean;
  readonly scale: number;
  readonly defaultValue: Value;
}

/** Columns that name a row of another table, by its key. */
export interface ForeignKey {
  readonly columns: readonly string[];
  readonly table: string;
}

export interface Table {
  readonly name: string;
  readonly key: readonly string[];
  readonly columns: readonly Column[];
  readonly scopes: readonly string[];
  readonly unique: readonly (readonly string[])[];
  readonly foreignKeys: readonly ForeignKey[];
  /** Columns that are one decision: whoever changes one of them has decided about all of them. */
  readonly groups: readonly (readonly string[])[];
  /** For each data column the positions, among the data columns, of all that are one decision with it:
   * its own, and those of its group. */
  readonly partners: readonly (readonly number[])[];
  readonly keyColumns: readonly Column[];
  /** The columns that are not part of the key, in declared order. */
  readonly dataColumns: readonly Column[];
  readonly byName: ReadonlyMap<string, Column>;
  readonly positions: ReadonlyMap<string, number>;
  readonly keyPositions: readonly number[];
  readonly dataPositions: readonly number[];
  /** Where a row's values go in column order: from its key's values and then its data columns. */
  readonly assembled: readonly number[];
}

function column(json: ColumnJson): Column {
  const type = json.type ?? "text";
  const scale = json.scale ?? 0;
  const merge = json.merge ?? "latest";
  const given = json.default ?? null;
  return {
    name: json.name,
    type,
    merge,
    nullable: json.nullable ?? false,
    scale,
    defaultValue: given === null ? POLICIES[merge].start : fromWire(type, given, scale),
  };
}

/** The columns a scope template names. */
export function templateColumns(template: string): string[] {
  return [...template.matchAll(/\{([a-z][a-z0-9_]*)\}/g)].map((found) => found[1] ?? "");
}

/** The columns of what a conflict is about: one, or those of a group. */
export function columnsOf(cell: string): string[] {
  return cell.split(",");
}

/** A table from its JSON form. Throws `SchemaError`. */
export function tableOf(json: TableJson): Table {
  const columns = json.columns.map(column);
  const byName = new Map(columns.map((one) => [one.name, one]));
  const positions = new Map(columns.map((one, at) => [one.name, at]));
  const at = (name: string): number => {
    const found = positions.get(name);
    if (found === undefined) throw new SchemaError(`table ${json.name}: no column ${name}`);
    return found;
  };
  const keyPositions = json.key.map(at);
  const dataPositions = columns
    .map((_, position) => position)
    .filter((position) => !keyPositions.includes(position));
  const order = [...keyPositions, ...dataPositions];
  const pick = (wanted: readonly number[]): Column[] =>
    columns.filter((_, p) => wanted.includes(p));
  json.scopes.flatMap(templateColumns).forEach(at);
  const dataColumns = pick(dataPositions);
  const groups = json.groups ?? [];
  const place = (name: string): number => dataColumns.findIndex((one) => one.name === name);
  return {
    name: json.name,
    key: json.key,
    columns,
    scopes: json.scopes,
    unique: json.unique ?? [],
    foreignKeys: json.foreign_keys ?? [],
    keyColumns: keyPositions.map((position) => columns[position] as Column),
    groups,
    partners: dataColumns.map(({ name }) =>
      (groups.find((group) => group.includes(name)) ?? [name]).map(place),
    ),
    dataColumns,
    byName,
    positions,
    keyPositions,
    dataPositions,
    assembled: columns.map((_, position) => order.indexOf(position)),
  };
}
