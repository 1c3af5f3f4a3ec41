/**
 * Refused changes that can be mended: the same again, with what was wrong put right.
 *
 * Knows: what the server refuses a product for. Must not know: how it is shown. The refused change is
 * given up only when the mended one is saved; killed in between, it is asked about once more.
 */

import { type Refused, type RefusedChange, UsageError } from "@holdfast/browser";

import * as products from "./products.js";
import { replica } from "./replica.js";

/** The change of a product whose SKU somebody else has taken meanwhile; null for anything else. */
export function takenSku(item: Refused): RefusedChange | null {
  const [only] = item.changes;
  if (item.code !== "unique" || item.state === "held" || item.changes.length !== 1) return null;
  return only?.table === "product" && only.op === "update" && "sku" in only.new ? only : null;
}

/** The same change with another SKU. Throws `UsageError`: `sku_exists`, `no_product`. */
export async function useOtherSku(item: Refused, sku: string): Promise<void> {
  const change = takenSku(item);
  if (change === null) return;
  const { rows } = await replica().query(products.one(change.key).sql, [change.key]);
  if (rows[0] === undefined) throw new UsageError(change.key, "no_product");
  const before = products.readProduct(rows[0]);
  const wanted = Object.fromEntries(
    Object.entries(change.new)
      .filter(([name]) => name in before)
      .map(([name, wire]) => [name, likeIn(before, name, wire)]),
  );
  await products.edit(before, { ...before, ...wanted, sku }, { added: [], removed: [] });
  await replica().discard(item.id);
}

/** A value of the wire as the app has it: integers travel as texts. */
function likeIn(product: products.Product, name: string, wire: unknown): unknown {
  const number = name === "cost" || typeof product[name as keyof products.Product] === "number";
  return number && wire !== null ? Number(wire) : wire;
}
