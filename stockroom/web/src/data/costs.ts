/**
 * What goods cost the shop: apart from the goods, on the devices of those who may see it.
 *
 * Knows: where a cost stands. Must not know: who may, or how it is shown. On a device that has none of them, a cost
 * goes to the server with its product, which keeps it where this device does not look.
 */

import { answers, asWhole, type Field, orNull, type Run, select } from "./rows.js";
import type { Writer } from "./products.js";

/** The cost of a product `p`: typed here and not sent yet, or kept apart. */
export const COST: Field<number | null> = orNull(
  asWhole("coalesce(p.cost, (SELECT c.cost FROM product_cost AS c WHERE c.product_id = p.id))"),
);

/** Whether this device has what goods cost. */
export const SEES_COSTS = select(
  { count: asWhole("count(*)") },
  "FROM holdfast_scope WHERE scope = 'cost' AND writable = 1",
);

export async function keepsCosts(run: Run): Promise<boolean> {
  return ((await answers(SEES_COSTS, run))[0]?.count ?? 0) > 0;
}

/** Write what a product costs us; what was typed with it and is not sent yet is this, then. */
export async function setCost(
  tx: Writer,
  product: string,
  cost: number | null,
  currency: string,
): Promise<void> {
  const known = await tx.execute("SELECT 1 FROM product_cost WHERE product_id = ?", [product]);
  await tx.execute(
    known.rows.length > 0
      ? "UPDATE product_cost SET cost = ?1, currency = ?2 WHERE product_id = ?3"
      : "INSERT INTO product_cost (cost, currency, product_id) VALUES (?1, ?2, ?3)",
    [cost, currency, product],
  );
  await tx.execute("UPDATE product SET cost = NULL WHERE id = ? AND cost IS NOT NULL", [product]);
}
