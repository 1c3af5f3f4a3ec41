/**
 * What keeps a schema from growing into another one, in words.
 *
 * Knows: the JSON form of schemas, and which differences are additive. Must not know: SQL or files. The
 * words of each step are Python's (`schema/difference.py`); here it is only known what stands in the way.
 */

import { byCodePoint } from "../../core/keys.js";
import { tableOf } from "../../core/schema.js";
import type { Check, Schema, Table } from "../../protocol/program.generated.js";

/** Return what is not additive between two generations; empty: the older one can become the newer. A
 * declared step stands in the way even where nothing seems to differ, as when two columns change their names. */
export function hindrances(old: Schema, fresh: Schema): string[] {
  if (old.name !== fresh.name) return [`the schema is named ${fresh.name}, it was ${old.name}`];
  const declared = (fresh.migrations ?? []).filter(
    ({ generation, steps }) => generation > (old.generation ?? 1) && steps.length > 0,
  );
  if (declared.length > 0)
    return declared.flatMap(({ steps }) =>
      steps.map(({ kind, table, column }) =>
        [kind, "of", [table, column].filter(Boolean).join("."), "is declared"].join(" "),
      ),
    );
  const after = new Map(fresh.tables.map((table) => [table.name, table]));
  return old.tables.flatMap((table) => {
    const now = after.get(table.name);
    return now === undefined ? [`table ${table.name} is gone`] : ofTable(table, now);
  });
}

function ofTable(old: Table, fresh: Table): string[] {
  const { name } = old;
  const found: string[] = [];
  for (const what of [
    "key",
    "scopes",
    "on_delete",
    "existence_public",
    "unique",
    "foreign_keys",
  ] as const)
    if (!sameJson(old[what], fresh[what])) found.push(`${name}: ${what} is another`);
  const before = new Map(old.columns.map((column) => [column.name, column]));
  const after = new Map(fresh.columns.map((column) => [column.name, column]));
  for (const column of old.columns) {
    const now = after.get(column.name);
    if (now === undefined) found.push(`${name}: column ${column.name} is gone`);
    else if (!sameJson(column, now)) found.push(`${name}: column ${column.name} is another`);
  }
  const order = fresh.columns.filter((column) => before.has(column.name));
  if (
    !sameJson(
      order.map((one) => one.name),
      old.columns.map((one) => one.name),
    )
  )
    found.push(`${name}: columns stand in another order`);
  for (const column of tableOf(fresh).columns)
    if (!before.has(column.name) && !column.nullable && column.defaultValue === null)
      found.push(`${name}: column ${column.name} is required`);
  for (const check of fresh.checks ?? []) {
    const isLooser = (one: Check): boolean => sameJson(one, check) || implies(one, check);
    if (before.has(check.column) && !(old.checks ?? []).some(isLooser))
      found.push(`${name}: a check on ${check.column} is new or tighter`);
  }
  for (const group of old.groups ?? [])
    if (!(fresh.groups ?? []).some((one) => sameJson(one, group)))
      found.push(`${name}: group (${group.join(", ")}) is gone`);
  for (const group of fresh.groups ?? [])
    if (
      !(old.groups ?? []).some((one) => sameJson(one, group)) &&
      group.some((one) => before.has(one))
    )
      found.push(`${name}: group (${group.join(", ")}) is new`);
  return found;
}

/** Return whether all that one check accepts is accepted by the other. */
function implies(one: Check, other: Check): boolean {
  if (one.column !== other.column || one.kind !== other.kind) return false;
  if (one.kind === "one_of") {
    const accepted = new Set(other.values ?? []);
    return (one.values ?? []).every((value) => accepted.has(value));
  }
  const [low, high] = [one.min ?? null, one.max ?? null];
  const below = (other.min ?? null) === null || (low !== null && low >= (other.min ?? low));
  const above = (other.max ?? null) === null || (high !== null && high <= (other.max ?? high));
  return below && above;
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
