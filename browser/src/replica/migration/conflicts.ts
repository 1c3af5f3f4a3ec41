/**
 * Conflicts whose table or column has another name, or is gone, in a newer generation.
 *
 * Knows: the rows of conflicts, and lineages of tables. Must not know: where the rows are. Every side
 * that migrates makes the same of them, to the byte, so that nobody has to be sent what has become of
 * them. In Python `sql/migration/conflicts.py`.
 */

import type { Row } from "../../core/keys.js";
import { columnsOf, type Table } from "../../core/schema.js";
import type { Value } from "../../core/values.js";
import { numberText } from "../../protocol/firstSent.js";
import { type Lineage, namesDiffer, type TableLineage } from "./lineage.js";

const SIDES = ["base", "mine", "theirs", "chosen"];

/** The old tables whose conflicts change. */
export function concerns({ tables, gone }: Lineage): Set<string> {
  const changed = [...tables.values()].filter(
    (one) =>
      one.isReshaped &&
      (one.old.name !== one.table.name || namesDiffer(one) || one.converted.size > 0),
  );
  return new Set([...changed.map(({ old }) => old.name), ...gone.map(({ name }) => name)]);
}

/** A conflict's row as the newer generation has it. One about what is gone, or is converted, is settled
 * with what stands: nobody can decide it any more. */
export function conflictOf({ byOld }: Lineage, conflicts: Table, row: Row): Row {
  const found = new Map(conflicts.columns.map(({ name }, at) => [name, row[at] ?? null]));
  const table = byOld.get(String(found.get("table_name")));
  const columns = columnsOf(String(found.get("column_name"))).filter((name) => name !== "");
  if (table !== undefined) found.set("table_name", table.table.name);
  const named = columns.flatMap((name) => table?.renamed.get(name) ?? []);
  if (
    table === undefined ||
    named.length < columns.length ||
    named.some((name) => table.converted.has(name))
  ) {
    if (found.get("state") === "open") {
      found.set("state", "settled").set("settled_by", "");
      found.set("chosen", found.get("theirs") ?? null);
      found.set("settled_at", found.get("at") ?? null);
    }
    return [...found.values()];
  }
  found.set("column_name", named.join(","));
  if (columns.length !== 1)
    for (const side of SIDES) found.set(side, renamedValues(table, found.get(side) ?? null));
  return [...found.values()];
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[{}[\],:]/g;

/** The values of several columns, as a JSON object of plain values, under their new names; numbers stay as
 * they are written. */
function renamedValues({ renamed }: TableLineage, text: Value): Value {
  if (typeof text !== "string") return text;
  const tokens = text.match(TOKEN) ?? [];
  if (tokens[0] !== "{") return text;
  const kept: string[] = [];
  // { name : value , name : value }
  for (let at = 1; at + 2 < tokens.length; at += 4) {
    const name = renamed.get(JSON.parse(tokens[at] ?? '""') as string);
    const value = tokens[at + 2] ?? "null";
    const said = value.startsWith('"') ? JSON.stringify(JSON.parse(value)) : numberText(value);
    if (name !== undefined) kept.push(`${JSON.stringify(name)}:${said}`);
  }
  return `{${kept.join(",")}}`;
}
