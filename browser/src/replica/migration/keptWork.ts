/**
 * Acknowledged work that is kept for a restored server, in the words of a newer generation.
 *
 * Knows: lineages of tables, and messages. Must not know: when a server was restored. What is kept is a
 * message; its tables and columns get their new names, and values are converted. What was done to a table or
 * column that is gone is left out: the server had it, and let it go itself. A transaction keeps its number
 * and id, and names the hash of its body as it was first sent.
 *
 * Upholds I5 and I8.
 */

import { BadValue } from "../../core/errors.js";
import { keyText, type Row } from "../../core/keys.js";
import { policyOf } from "../../core/merging/policies.js";
import type { Column } from "../../core/schema.js";
import { check, toWire, utf8Length, type Value } from "../../core/values.js";
import { firstHash } from "../../protocol/firstSent.js";
import type { Change, Transaction } from "../../protocol/messages.generated.js";
import type { Connection } from "../../sqlite/connection.js";
import { changeImages, changeKey } from "../identity/kept.js";
import type { Bookkeeping } from "../storage/program.js";
import type { Lineage, TableLineage } from "./lineage.js";

/** Rows as the tables have them, before they are made anew. */
export interface RowContext {
  /** A row of an old table, by its key. */
  readonly visible: (table: TableLineage, key: string) => Row | null;
  /** Data columns of a new table, from those of the old one. */
  readonly reshape: (table: TableLineage, key: string, data: Row) => Row;
}

type Words = Record<string, unknown>;

/** Write what is kept anew, as far as it is about tables that declared steps have changed. */
export function translateKept(
  connection: Connection,
  { kept, gone }: Bookkeeping,
  way: Lineage,
  rows: RowContext,
): void {
  for (const [number = null, body] of connection.execute(kept.bodies)) {
    const one = JSON.parse(String(body)) as Transaction;
    const made = one.changes.map((change) => changed(way, change, rows));
    if (made.every((change, at) => change === one.changes[at])) continue;
    const changes = made.filter((change) => change !== null);
    const text = JSON.stringify({ ...one, changes, first: firstHash(one) });
    connection.execute(gone.set_kept, [text, number]);
    connection.execute(kept.add_bytes, [BigInt(utf8Length(text) - utf8Length(String(body)))]);
  }
}

function changed(way: Lineage, change: Change, { visible, reshape }: RowContext): Change | null {
  const lineage = way.byOld.get(change.table);
  if (lineage?.isReshaped !== true) return lineage === undefined ? null : change;
  const { old, table, converted } = lineage;
  const fresh = renamedWords(lineage, change.new);
  const before = renamedWords(lineage, change.old);
  const hadWords = Object.keys(change.new ?? {}).length > 0;
  if (change.op === "update" && hadWords && Object.keys(fresh).length === 0) return null;
  if ([...converted].some((name) => name in fresh || name in before)) {
    const key = keyText(old, changeKey(old, change));
    const images = changeImages(old, change, visible(lineage, key));
    const width = old.dataColumns.length;
    const was = reshape(lineage, key, images.slice(0, width));
    const now = reshape(lineage, key, images.slice(width));
    table.dataColumns.forEach((column, at) => {
      if (!converted.has(column.name)) return;
      const [one, other] = [was[at] ?? null, now[at] ?? null];
      const { difference } = policyOf(column);
      say(column, fresh, change.op === "update" ? difference(one, other) : other);
      say(column, before, one);
    });
  }
  return {
    ...change,
    table: table.name,
    bases: renamedBases(lineage, change.bases ?? {}),
    new: fresh,
    old: before,
  };
}

/** Say a converted value, where something was said; one that does not fit is left out. */
function say({ name, type, scale }: Column, words: Words, value: Value): void {
  if (!(name in words)) return;
  try {
    words[name] = toWire(type, check(type, value, scale));
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- names of columns
    delete words[name];
  }
}

/** What is said of columns, under their new names. */
function renamedWords({ renamed }: TableLineage, words: Words = {}): Words {
  return Object.fromEntries(
    Object.entries(words).flatMap(([name, said]) => {
      const now = renamed.get(name);
      return now === undefined ? [] : [[now, said]];
    }),
  );
}

/** The base revisions of columns under their new names. */
export function renamedBases(
  { renamed }: TableLineage,
  bases: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(bases).flatMap(([name, base]) => {
      const [cell = "", ...parts] = name.split(/(?=:)/);
      const columns = cell.split(",").map((one) => renamed.get(one));
      return columns.includes(undefined) ? [] : [[columns.join(",") + parts.join(""), base]];
    }),
  );
}
