/**
 * Refused changes that can be mended: the same again, with what was wrong put right.
 *
 * Knows: what the server refuses a product for. Must not know: how it is shown. The refused change is
 * given up only when the mended one is saved; killed in between, it is asked about once more.
 */

import { type Refused, type RefusedChange, UsageError } from "@holdfast/browser";

import { text, whole } from "./live.svelte.js";
import * as products from "./products.js";
import { replica } from "./replica.js";

/** The product whose SKU somebody else has taken meanwhile, new or changed; null for anything else. */
export function takenSku(item: Refused): RefusedChange | null {
  if (item.code !== "unique" || item.state === "held") return null;
  const [product, ...more] = item.changes.filter(({ table }) => table !== "barcode");
  const mendable = product?.table === "product" && product.op !== "delete" && "sku" in product.new;
  return mendable && more.length === 0 ? product : null;
}

/** The same change with another SKU, and what waits for that product. Throws `UsageError`: `sku_exists`,
 * `barcode_exists`, `no_product`. */
export async function useOtherSku(item: Refused, sku: string): Promise<void> {
  const change = takenSku(item);
  if (change === null) return;
  const codesOf = (op: string): string[] =>
    item.changes.filter((one) => one.table === "barcode" && one.op === op).map(({ key }) => key);
  const codes = { added: codesOf("insert"), removed: codesOf("delete") };
  const { rows } = await replica().query(products.one(change.key).sql, [change.key]);
  if (rows[0] !== undefined) {
    const before = products.readProduct(rows[0]);
    const wanted = Object.fromEntries(
      Object.entries(change.new)
        .filter(([name]) => name in before)
        .map(([name, wire]) => [name, likeIn(before, name, wire)]),
    );
    await products.edit(before, { ...before, ...wanted, sku }, codes);
  } else if (change.op === "insert")
    // With the id it had: what was received of it names that.
    await products.add({ ...fieldsOf(change.new), sku }, codes.added, change.key);
  else throw new UsageError(change.key, "no_product");
  await replica().discard(item.id);
  for (const other of await replica().refused())
    if (waitsFor(other, item, change.key)) await goOn(other.id);
}

/** Held with it, or refused since then because the product was not there. */
const waitsFor = (other: Refused, item: Refused, product: string): boolean =>
  other.state === "held"
    ? other.heldBy === item.number
    : other.code === "foreign_key" &&
      other.changes.some((change) => change.new["product_id"] === product);

/** Again, and what builds on it; unless it has gone with another one already, or is still to be
 * decided. */
async function goOn(id: string): Promise<void> {
  try {
    await replica().retry(id);
  } catch (error) {
    if (!(error instanceof UsageError) || !["no_refused", "undecided"].includes(error.code))
      throw error;
  }
}

/** A new product as it was to be made. */
function fieldsOf(made: Readonly<Record<string, unknown>>): products.Fields {
  return {
    sku: text(made["sku"]), name: text(made["name"]), description: text(made["description"]),
    shelf: text(made["shelf"]), notes: text(made["notes"]), price: whole(made["price"]),
    cost: made["cost"] == null ? null : whole(made["cost"]), currency: text(made["currency"] ?? "EUR"),
    unit: text(made["unit"] ?? "piece"), archived: made["archived"] === true,
  }; // prettier-ignore
}

/** A value of the wire as the app has it: integers travel as texts. */
function likeIn(product: products.Product, name: string, wire: unknown): unknown {
  const number = name === "cost" || typeof product[name as keyof products.Product] === "number";
  return number && wire !== null ? Number(wire) : wire;
}
