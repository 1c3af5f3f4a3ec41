/**
 * Work about one product that becomes another's: under which ids, and what is written.
 *
 * Knows: ids that follow from a product's, as those of a delivery's lines and of what these were booked as.
 * Must not know: why the one product is the other. The twin of `stockroom/followed.py`.
 */

import { type AppValue, type RefusedChange, UsageError } from "@holdfast/browser";

import { damagedId, deliveryLineId, receivedId, reversalId } from "./ids.js";
import { addCode, type Writer } from "./products.js";
import { insert, isTable, type NewRow, text, type Table, typeOf } from "./rows.js";

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
  /** Lines of deliveries that are written already, by an earlier time that was cut off. */
  readonly done: Set<string>;
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
  return { own, there, ids, done: new Set() };
}

/** Write one change of what waits about the product that is there. Throws `UsageError`: `not_mendable`,
 * `barcode_exists`. */
export async function follow(tx: Writer, change: RefusedChange, way: Way): Promise<void> {
  const { table, op, key, new: made } = change;
  if (table === "product" && key === way.own) return;
  const product = made["product_id"] === way.own ? way.there : text(made["product_id"]);
  const id = way.ids.get(key) ?? key;
  if (table === "barcode" && op === "insert") await addCode(tx, product, key);
  else if (table === "barcode" && op === "delete")
    await tx.execute("DELETE FROM barcode WHERE code = ?", [key]);
  else if (table === "barcode")
    await tx.execute("UPDATE barcode SET product_id = ? WHERE code = ?", [product, key]);
  else if (op === "insert" && isTable(table) && NAMING.includes(table)) {
    if (await isThere(tx, table, id, made, way)) return;
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
  } else if (way.done.has(id)) return;
  else if (op === "update" && isTable(table) && CHANGED.includes(table))
    for (const [name, wire] of Object.entries(made)) {
      // What is counted travels as a difference.
      const value = table === "delivery_line" && name === "scanned" ? "scanned + ?" : "?";
      await tx.execute(`UPDATE ${table} SET ${name} = ${value} WHERE id = ?`, [
        stored(table, name, wire),
        id,
      ]);
    }
  else throw new UsageError(`what waits changes ${table} ${key} too`, "not_mendable");
}

/** Whether such a row is there. In the line of a delivery that was counted of the other product, too,
 * nothing of this one's count may be lost. */
async function isThere(
  tx: Writer,
  table: Table,
  id: string,
  made: Readonly<Record<string, unknown>>,
  way: Way,
): Promise<boolean> {
  if (table !== "delivery_line")
    return (await tx.execute(`SELECT 1 FROM ${table} WHERE id = ?`, [id])).rows.length > 0;
  const { rows } = await tx.execute("SELECT added_at FROM delivery_line WHERE id = ?", [id]);
  const [row] = rows;
  if (row === undefined) return false;
  if (String(row[0]) !== String(made["added_at"]))
    throw new UsageError("both products were counted in one delivery", "not_mendable");
  way.done.add(id);
  return true;
}

/** A value of the wire as it is written: integers travel as texts, booleans are 0 and 1. */
function stored(table: Table, name: string, wire: unknown): AppValue {
  const type = typeOf(table, name);
  if (wire !== null && (type === "integer" || type === "timestamp")) return BigInt(String(wire));
  return typeof wire === "boolean" ? Number(wire) : wire === null ? null : text(wire as AppValue);
}
