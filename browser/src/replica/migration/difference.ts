/**
 * The difference between two generations of a table, step by step, and which are additive.
 *
 * Knows: the JSON form of schemas. Must not know: SQL or files. The steps and their words are Python's
 * (`schema/difference.py`).
 */

import { byCodePoint } from "../../core/keys.js";
import type { Column, Check, ForeignKey, Table } from "../../protocol/program.generated.js";
import { POLICIES } from "../../core/merging/policies.js";

/** One step from the older to the newer schema, with a sentence for people. `column`: empty when it
 * concerns more than one column; else the column, or columns with commas. */
export interface Step {
  readonly kind: string;
  readonly table: string;
  readonly column: string;
  readonly text: string;
  readonly additive: boolean;
}

/** What a column says of itself besides its type: the kind of step, its word, and what it is by itself. */
const HOW = [
  ["merge", "change_policy", "merge policy", "latest"],
  ["nullable", "change_nullable", "nullable", false],
  ["default", "change_default", "default", null],
  ["fill", "change_fill", "fill", null],
  ["corrected", "change_correction", "corrected", false],
] as const;

/** Yield the steps from one table to another of its name. */
export function* tableDifference(old: Table, fresh: Table): Generator<Step> {
  const { name } = fresh;
  const step = (kind: string, column: string, text: string, additive = false): Step => ({
    kind,
    table: name,
    column,
    text: `${name}: ${text}`,
    additive,
  });
  const before = new Map(old.columns.map((column) => [column.name, column]));
  const after = new Map(fresh.columns.map((column) => [column.name, column]));
  if (!sameJson(old.key, fresh.key))
    yield step("change_key", "", `the key is ${list(fresh.key)}, it was ${list(old.key)}`);
  for (const column of old.columns)
    if (!after.has(column.name))
      yield step("drop_column", column.name, `column ${column.name} is gone`);
  for (const column of fresh.columns) {
    const known = before.get(column.name);
    if (known === undefined) yield added(fresh, column);
    else yield* columnSteps(name, known, column);
  }
  if (isReordered([...before.keys()], [...after.keys()]))
    yield step("change_column_order", "", "columns stand in another order");
  if (!sameJson(old.scopes, fresh.scopes))
    yield step(
      "change_scopes",
      "",
      `its scopes are ${list(fresh.scopes)}, they were ${list(old.scopes)}`,
    );
  const [kept, keeps] = [old.on_delete ?? "keep", fresh.on_delete ?? "keep"];
  if (kept !== keeps)
    yield step("change_delete_policy", "", `its delete policy is ${keeps}, it was ${kept}`);
  const [reached, reaches] = [old.existence_public ?? false, fresh.existence_public ?? false];
  if (reached !== reaches)
    yield step("change_reach", "", `existence_public is ${said(reaches)}, it was ${said(reached)}`);
  yield* checkSteps(old, fresh, step);
  yield* keySteps(old, fresh, step);
  for (const group of without(old.groups, fresh.groups))
    yield step("drop_group", group.join(","), `group ${list(group)} is gone`);
  for (const group of without(fresh.groups, old.groups)) {
    const isFresh = !group.some((one) => before.has(one));
    yield step("add_group", group.join(","), `group ${list(group)} is new`, isFresh);
  }
}

type Make = (kind: string, column: string, text: string, additive?: boolean) => Step;

/** A value as a declaration says it. */
type Start = string | number | bigint | boolean | null;

/** The default of a column; null: it has none. */
function defaultOf(column: Column): Start {
  return (
    (column.default as Start | undefined) ?? (POLICIES[column.merge ?? "latest"].start as Start)
  );
}

/** A column is additive when the rows of older devices get a value that it can have. */
function added(table: Table, column: Column): Step {
  const start = defaultOf(column);
  const checks = (table.checks ?? []).filter((check) => check.column === column.name);
  let [what, additive] = ["nullable", true];
  if (column.nullable !== true && start === null)
    [what, additive] = ["required: it is neither nullable nor has it a default", false];
  else if (!checks.every((check) => accepts(check, start)))
    [what, additive] = [
      `its default ${said((column.default ?? null) as Start)} does not pass its check`,
      false,
    ];
  else if ((column.fill ?? null) !== null) what = `filled by ${String(column.fill)}`;
  else if (start !== null) what = `default ${said(start)}`;
  const text = `${table.name}: column ${column.name} is new (${what})`;
  return { kind: "add_column", table: table.name, column: column.name, text, additive };
}

function* columnSteps(table: string, old: Column, fresh: Column): Generator<Step> {
  const where = `${table}: column ${fresh.name}`;
  const { name: column } = fresh;
  if (typeWords(old) !== typeWords(fresh)) {
    const text = `${where} is ${typeWords(fresh)}, it was ${typeWords(old)}`;
    yield { kind: "change_type", table, column, text, additive: false };
  }
  for (const [field, kind, word, start] of HOW) {
    const [one, other] = [old[field] ?? start, fresh[field] ?? start];
    if (sameJson(one, other)) continue;
    const text = `${where}: ${word} is ${said(other as Start)}, it was ${said(one as Start)}`;
    yield { kind, table, column, text, additive: false };
  }
}

/** Each new check is one that was there, a looser or a tighter form of one, or new. */
function* checkSteps(old: Table, fresh: Table, step: Make): Generator<Step> {
  const before = new Set(old.columns.map(({ name }) => name));
  const rest = without(old.checks, fresh.checks);
  for (const check of without(fresh.checks, old.checks)) {
    const where = checkWords(check);
    if (!before.has(check.column)) {
      // The column is new as well: whether its default passes is said there.
      yield step("add_check", check.column, `${where} is new`, true);
      continue;
    }
    const kin = (old.checks ?? []).filter(
      ({ column, kind }) => column === check.column && kind === check.kind,
    );
    const stricter = kin.find((one) => implies(one, check));
    const paired = stricter ?? kin.find((one) => rest.includes(one));
    if (paired === undefined) {
      yield step("add_check", check.column, `${where} is new`);
      continue;
    }
    if (rest.includes(paired)) rest.splice(rest.indexOf(paired), 1);
    const isWider = stricter !== undefined;
    yield step(
      isWider ? "widen_check" : "tighten_check",
      check.column,
      `${where} is ${isWider ? "looser" : "not looser"} than ${checkWords(paired)}`,
      isWider,
    );
  }
  for (const check of rest)
    if (fresh.columns.some(({ name }) => name === check.column))
      yield step("drop_check", check.column, `${checkWords(check)} is gone`, true);
  if (isReordered((old.checks ?? []).map(plain), (fresh.checks ?? []).map(plain)))
    yield step("change_check_order", "", "checks stand in another order", true);
}

/** Unique and foreign keys: no step of them is additive, on new columns either. */
function* keySteps(old: Table, fresh: Table, step: Make): Generator<Step> {
  for (const unique of without(old.unique, fresh.unique))
    yield step("drop_unique", unique.join(","), `unique key ${list(unique)} is gone`);
  for (const unique of without(fresh.unique, old.unique))
    yield step("add_unique", unique.join(","), `unique key ${list(unique)} is new`);
  if (isReordered((old.unique ?? []).map(plain), (fresh.unique ?? []).map(plain)))
    yield step("change_unique_order", "", "unique keys stand in another order");
  for (const foreign of without(old.foreign_keys, fresh.foreign_keys))
    yield step("drop_foreign_key", foreign.columns.join(","), `${foreignWords(foreign)} is gone`);
  for (const foreign of without(fresh.foreign_keys, old.foreign_keys))
    yield step("add_foreign_key", foreign.columns.join(","), `${foreignWords(foreign)} is new`);
  if (isReordered((old.foreign_keys ?? []).map(plain), (fresh.foreign_keys ?? []).map(plain)))
    yield step("change_foreign_key_order", "", "foreign keys stand in another order");
}

// Checks

/** Return whether all that one check accepts is accepted by the other, of the same kind. */
function implies(one: Check, other: Check): boolean {
  if (one.kind === "one_of") {
    const accepted = new Set(other.values ?? []);
    return (one.values ?? []).every((value) => accepted.has(value));
  }
  const [low, high] = [one.min ?? null, one.max ?? null];
  const below = (other.min ?? null) === null || (low !== null && low >= (other.min ?? low));
  const above = (other.max ?? null) === null || (high !== null && high <= (other.max ?? high));
  return below && above;
}

/** Return whether a default passes a check, as a database would have it. */
function accepts(check: Check, start: Start): boolean {
  if (start === null) return true;
  const text = typeof start === "boolean" ? String(Number(start)) : String(start);
  if (check.kind === "one_of") return (check.values ?? []).includes(text);
  const { length } = Array.from(text); // code points, as SQLite counts them
  if (check.kind === "not_empty") return length > 0;
  const size = check.kind === "length" ? length : Number(text);
  return size >= (check.min ?? size) && size <= (check.max ?? size);
}

// Words

/** What is in one list and not in the other, in order. */
function without<T>(ones: readonly T[] = [], others: readonly T[] = []): T[] {
  const there = new Set(others.map(plain));
  return ones.filter((one) => !there.has(plain(one)));
}

/** Return whether what both have stands in another order. */
function isReordered(old: readonly string[], fresh: readonly string[]): boolean {
  const both = old.filter((one) => fresh.includes(one));
  return !sameJson(
    both,
    fresh.filter((one) => old.includes(one)),
  );
}

const list = (names: readonly string[]): string => `(${names.join(", ")})`;

/** A value of a declaration as Python writes it. */
function said(value: Start): string {
  if (value === null) return "not set";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "string") return String(value);
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  return quote + value.replaceAll("\\", "\\\\").replaceAll(quote, `\\${quote}`) + quote;
}

function typeWords({ type = "text", scale = 0 }: Column): string {
  return scale > 0 ? `${type} of scale ${scale}` : type;
}

function foreignWords({ columns, table }: ForeignKey): string {
  return `foreign key ${list(columns)} to ${table}`;
}

function checkWords(check: Check): string {
  if (check.kind === "one_of")
    return `check on ${check.column}: one of ${(check.values ?? []).join(", ")}`;
  if (check.kind === "not_empty") return `check on ${check.column}: not empty`;
  const [least, most] = [check.min ?? "any", check.max ?? "any"];
  return `check on ${check.column}: ${check.kind} from ${least} to ${most}`;
}

/** Return whether two values in JSON say the same, names in whatever order. */
export const sameJson = (one: unknown, other: unknown): boolean => plain(one) === plain(other);

/** JSON with names in order, so that what is said in another order is the same. */
function plain(value: unknown): string {
  return JSON.stringify(value ?? null, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => byCodePoint(a, b)))
      : inner,
  );
}
