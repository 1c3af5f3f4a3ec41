/**
 * Work about one product that becomes another's: under which ids, and what is written.
 *
 * Knows: ids that follow from a product's, as those of a delivery's lines and of what these were booked as.
 * Must not know: why the one product is the other. The twin of `stockroom/followed.py`.
 */

import { type AppValue, type RefusedChange, UsageError } from "@holdfast/browser";

import { damagedId, deliveryLineId, receivedId, reversalId } from "./ids.js";
import { addCode, type Writer } from "./products.js";
import { ask } from "./replica.js";
import { column, insert, isTable, type NewRow, select, text, type Table, typeOf } from "./rows.js";

/** Tables of which new rows can wait together with a product. */
const NAMING: readonly Table[] = ["delivery", "delivery_line", "movement", "store", "location"];
/** Those of which changed rows can. */
const CHANGED: readonly Table[] = ["delivery", "delivery_line"];
/** Rows of a product. */
const OF_PRODUCT: readonly Table[] = ["delivery_line", "movement"];

/** A product, the one that it becomes, and the ids that follow. */
export interface Way {
  readonly own: string;
  readonly there: string;
  readonly ids: ReadonlyMap<string, string>;
  /** Of lines that go over, how much of their count is written by now. */
  readonly scanned: Map<string, number>;
}

/** Find the way of all that waits, in its order. */
export async function wayOf(
  changes: readonly RefusedChange[],
  own: string,
  there: string,
): Promise<Way> {
  const ids = new Map<string, string>();
  const booked = new Map<string, number>();
  const damaged = new Map<string, string>();
  for (const { table, op, key, new: made } of changes) {
    if (op !== "insert") continue;
    const delivery = text(made["delivery_id"] ?? "");
    const reversed = ids.get(text(made["reverses"] ?? ""));
    if (table === "movement" && reversed !== undefined) ids.set(key, await reversalId(reversed));
    else if (made["product_id"] !== own || delivery === "") continue;
    else if (table === "delivery_line") ids.set(key, await deliveryLineId(delivery, there));
    else if (made["kind"] === "damage" && damaged.has(key)) ids.set(key, damaged.get(key) ?? key);
    else if (made["kind"] === "receive") {
      const [from, to] = [
        await deliveryLineId(delivery, own),
        await deliveryLineId(delivery, there),
      ];
      const [before, quantity] = [booked.get(from) ?? 0, Number(made["quantity"])];
      if (key !== (await receivedId(from, before, quantity))) continue;
      const id = await receivedId(to, before, quantity);
      ids.set(key, id);
      damaged.set(await damagedId(key), await damagedId(id));
      booked.set(from, before + quantity);
    }
  }
  return { own, there, ids, scanned: new Map() };
}

const ADDED = { at: column("delivery_line", "added_at", "l") };

/** Throw `UsageError` (`not_mendable`) where the other product was counted in the same delivery: in its line
 * this one's count would be lost. */
export async function checkApart(changes: readonly RefusedChange[], way: Way): Promise<void> {
  for (const { table, op, key, new: made } of changes) {
    const line = way.ids.get(key);
    if (table !== "delivery_line" || op !== "insert" || line === undefined) continue;
    const [found] = await ask(select(ADDED, "FROM delivery_line AS l WHERE l.id = ?", [line]));
    // One with the same time is what an earlier try has written before it was cut off.
    if (found !== undefined && found.at !== Number(made["added_at"]))
      throw new UsageError("both products were counted in one delivery", "not_mendable");
  }
}

/** Write one of the transactions that wait about the product that is there, or find that an earlier try has
 * written it. Throws `UsageError`: `not_mendable`, `barcode_exists`. */
export async function follow(
  tx: Writer,
  changes: readonly RefusedChange[],
  way: Way,
): Promise<void> {
  let isDone = false;
  for (const change of changes) isDone ||= await isWritten(tx, change, way);
  for (const change of changes) {
    if (!isDone) await write(tx, change, way);
    const line = way.ids.get(change.key);
    if (change.table === "delivery_line" && line !== undefined)
      way.scanned.set(line, (way.scanned.get(line) ?? 0) + Number(change.new["scanned"] ?? 0));
  }
}

async function write(tx: Writer, change: RefusedChange, way: Way): Promise<void> {
  const { table, op, key, new: made } = change;
  if ((table === "product" || table === "product_cost") && key === way.own) return;
  const product = made["product_id"] === way.own ? way.there : text(made["product_id"] ?? "");
  const id = way.ids.get(key) ?? key;
  if (table === "barcode") await writeCode(tx, change, product);
  else if (op === "insert" && isTable(table) && NAMING.includes(table)) {
    if (await isThere(tx, table, id)) return;
    const reverses = way.ids.get(text(made["reverses"] ?? ""));
    const values = {
      ...made,
      id,
      ...(OF_PRODUCT.includes(table) ? { product_id: product } : {}),
      ...(reverses === undefined ? {} : { reverses }),
    };
    const row = Object.entries(values).map(([name, wire]) => [name, stored(table, name, wire)]);
    const { sql, params } = insert(table, Object.fromEntries(row) as NewRow<Table>);
    await tx.execute(sql, params);
  } else if (op === "update" && isTable(table) && CHANGED.includes(table))
    for (const [name, wire] of Object.entries(made))
      if (table === "delivery_line" && name === "scanned") await scan(tx, id, Number(wire), way);
      else
        await tx.execute(`UPDATE ${table} SET ${name} = ? WHERE id = ?`, [
          stored(table, name, wire),
          id,
        ]);
  else throw new UsageError(`what waits changes ${table} ${key} too`, "not_mendable");
}

async function writeCode(
  tx: Writer,
  { op, key: code, new: made }: RefusedChange,
  product: string,
): Promise<void> {
  if (op === "insert") await addCode(tx, product, { code, pack: Number(made["pack"] ?? 1) });
  else if (op === "delete") await tx.execute("DELETE FROM barcode WHERE code = ?", [code]);
  else
    for (const [name, wire] of Object.entries(made))
      await tx.execute(`UPDATE barcode SET ${name} = ? WHERE code = ?`, [
        name === "product_id" ? product : stored("barcode", name, wire),
        code,
      ]);
}

/** Count on a line. What is counted travels as a difference; where a try was cut off, it is written only on
 * top of what was before it. */
async function scan(tx: Writer, line: string, by: number, way: Way): Promise<void> {
  const before = way.scanned.get(line);
  const sql = "UPDATE delivery_line SET scanned = scanned + ? WHERE id = ?";
  if (before === undefined) await tx.execute(sql, [by, line]);
  else await tx.execute(`${sql} AND scanned = ?`, [by, line, before]);
}

async function isThere(tx: Writer, table: string, id: string): Promise<boolean> {
  return (await tx.execute(`SELECT 1 FROM ${table} WHERE id = ?`, [id])).rows.length > 0;
}

/** Whether a row is there that only this can have written: transactions are whole. */
async function isWritten(
  tx: Writer,
  { table, op, key }: RefusedChange,
  way: Way,
): Promise<boolean> {
  const namesIt = table === "movement" || (table === "delivery_line" && way.ids.has(key));
  return op === "insert" && namesIt && (await isThere(tx, table, way.ids.get(key) ?? key));
}

/** A value of the wire as it is written: integers travel as texts, booleans are 0 and 1. */
function stored(table: Table, name: string, wire: unknown): AppValue {
  const type = typeOf(table, name);
  if (wire !== null && (type === "integer" || type === "timestamp")) return BigInt(String(wire));
  return typeof wire === "boolean" ? Number(wire) : wire === null ? null : text(wire as AppValue);
}
