/**
 * Rows by name: what a question asks for, how the answer is read and what a new row holds are one thing,
 * typed by the schema.
 *
 * Knows: the schema's tables and how SQLite holds their values. Must not know: any question of the app.
 * Upholds: nobody else reads a value by its position, so that two columns cannot change places.
 */

import type { AppRow, AppValue, Statement } from "@holdfast/browser";

import { TABLES } from "./schema.generated.js";

export const text = (value: unknown): string =>
  value === null || value === undefined ? "" : String(value);
export const whole = (value: unknown): number => Number(value ?? 0);
export const truth = (value: unknown): boolean => whole(value) === 1;

/** What the types of columns are called in the schema, and as the app has them. */
interface Types {
  text: string;
  uuid: string;
  integer: number;
  timestamp: number;
  boolean: boolean;
}
type Base = keyof Types;
type Value<Spec> = Spec extends `${infer Name extends Base}?`
  ? Types[Name] | null
  : Spec extends Base | `${Base}=`
    ? Types[Spec extends `${infer Name extends Base}=` ? Name : Spec & Base]
    : never;

export type Table = keyof typeof TABLES;
export type Column<T extends Table> = keyof (typeof TABLES)[T]["columns"] & string;
type Spec<T extends Table, C extends Column<T>> = (typeof TABLES)[T]["columns"][C];
/** A row of a table, as it is read. */
export type RowOf<T extends Table> = { readonly [C in Column<T>]: Value<Spec<T, C>> };
type Optional<T extends Table> = {
  [C in Column<T>]: Spec<T, C> extends `${string}${"?" | "="}` ? C : never;
}[Column<T>];
/** A row that is written: what may be NULL or has a default may be left out. */
export type NewRow<T extends Table> = Omit<RowOf<T>, Optional<T>> &
  Partial<Pick<RowOf<T>, Optional<T>>>;

export const isTable = (name: string): name is Table => Object.hasOwn(TABLES, name);
export const tables = Object.keys(TABLES) as readonly Table[];

/** One thing that a question asks for: an expression, and how its value is read. */
export interface Field<T> {
  readonly sql: string;
  readonly read: (value: unknown) => T;
}
export type Fields = Readonly<Record<string, Field<unknown>>>;
export type Row<F extends Fields> = {
  readonly [N in keyof F]: F[N] extends Field<infer T> ? T : never;
};

/** Expressions that are no column of the schema, such as a sum. */
export const asText = (sql: string): Field<string> => ({ sql, read: text });
export const asWhole = (sql: string): Field<number> => ({ sql, read: whole });
export const asTruth = (sql: string): Field<boolean> => ({ sql, read: truth });
/** The same, where it may be NULL. */
export const orNull = <T>({ sql, read }: Field<T>): Field<T | null> => ({
  sql,
  read: (value) => (value === null || value === undefined ? null : read(value)),
});

const READERS: { readonly [Name in Base]: (sql: string) => Field<Types[Name]> } = {
  text: asText,
  uuid: asText,
  integer: asWhole,
  timestamp: asWhole,
  boolean: asTruth,
};

export const typeOf = (table: Table, column: string): Base | undefined =>
  (TABLES[table].columns as Readonly<Record<string, string>>)[column]?.replace(/[?=]$/, "") as
    Base | undefined;

/** A column of the table that the query calls `alias`. */
export function column<T extends Table, C extends Column<T>>(
  table: T,
  name: C,
  alias: string,
): Field<RowOf<T>[C]> {
  const spec = (TABLES[table].columns as Readonly<Record<string, string>>)[name] ?? "";
  const field = READERS[spec.replace(/[?=]$/, "") as Base](`${alias}.${name}`);
  return (spec.endsWith("?") ? orNull<unknown>(field) : field) as Field<RowOf<T>[C]>;
}

/** Several columns of it, each under its own name. */
export function columns<T extends Table, C extends Column<T>>(
  table: T,
  names: readonly C[],
  alias: string,
): { readonly [N in C]: Field<RowOf<T>[N]> } {
  const found = names.map((name) => [name, column(table, name, alias)]);
  return Object.fromEntries(found) as { readonly [N in C]: Field<RowOf<T>[N]> };
}

/** Something to ask the database, and the rows that it answers with. */
export interface Question<T> {
  readonly sql: string;
  readonly params: AppRow;
  readonly read: (row: AppRow) => T;
}

/** Ask for fields; `rest`: the query from its FROM on. */
export function select<F extends Fields>(
  fields: F,
  rest: string,
  params: AppRow = [],
): Question<Row<F>> {
  const asked = Object.entries(fields);
  const list = asked.map(([name, { sql }]) => `${sql} AS "${name}"`).join(", ");
  const read = (row: AppRow): Row<F> =>
    Object.fromEntries(asked.map(([name, field], at) => [name, field.read(row[at])])) as Row<F>;
  return { sql: `SELECT ${list} ${rest}`, params, read };
}

/** Function that runs SQL: the replica, or an open transaction in it. */
export type Run = (sql: string, params: AppRow) => Promise<{ readonly rows: readonly AppRow[] }>;

export async function answers<T>(question: Question<T>, run: Run): Promise<T[]> {
  const { rows } = await run(question.sql, question.params);
  return rows.map(question.read);
}

/** Write a new row. */
export function insert<T extends Table>(table: T, row: NewRow<T>): Statement {
  const names = Object.keys(row);
  const marks = names.map(() => "?").join(", ");
  return {
    sql: `INSERT INTO ${table} (${names.join(", ")}) VALUES (${marks})`,
    params: Object.values(row) as AppValue[],
  };
}

/** Write a row that the database makes; `made`: an expression for each column, `rest`: from FROM or WHERE on. */
export function insertMade<T extends Table>(
  table: T,
  made: { readonly [C in keyof NewRow<T>]: string },
  rest: string,
  params: AppRow,
): Statement {
  const [names, values] = [Object.keys(made), Object.values(made)];
  return {
    sql: `INSERT INTO ${table} (${names.join(", ")}) SELECT ${values.join(", ")} ${rest}`,
    params,
  };
}

/** Return whether a row of a table is the one that the engine calls `key`: an expression that an index answers. */
export function isKey(table: Table, alias: string, key: string): string {
  const [first, ...more]: readonly string[] = TABLES[table].key;
  if (more.length === 0) return `${alias}.${first} = ${key}`;
  // The parts of a key stand between slashes; those within a part are written %2F, and % is %25.
  const parts = `('[' || replace(json_quote(${key}), '/', '","') || ']')`;
  const part = (at: number): string =>
    `replace(replace(json_extract(${parts}, '$[${at}]'), '%2F', '/'), '%25', '%')`;
  return [first, ...more].map((name, at) => `${alias}.${name} = ${part(at)}`).join(" AND ");
}

/** The column that names a row of another table; null when there is none. */
export function referring(table: Table, other: Table): string | null {
  const found = Object.entries(TABLES[table].refers).find(([, named]) => named === other);
  return found?.[0] ?? null;
}
