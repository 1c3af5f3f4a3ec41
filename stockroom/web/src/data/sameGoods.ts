/**
 * Two products that are the same goods: one of them leads, and the other is resolved to it.
 *
 * Knows: the local table `same_goods`, and what making one, and parting, writes. Must not know: how it is
 * shown. The twin of `stockroom/same_goods.py`: nothing is moved, so that both histories stay, whatever arrives
 * late finds its way, and undoing is one column.
 */

import { UsageError } from "@holdfast/browser";

import { replica } from "./replica.js";
import { answers, asText, columns, type Question, type Row, select } from "./rows.js";

/** SQL for the product that leads `product` (an expression); itself, mostly. */
export const leading = (product: string): string =>
  `coalesce((SELECT same_.leads FROM same_goods AS same_ WHERE same_.product_id = ${product}), ${product})`;

/** SQL for the products that `product` (an expression) leads, itself among them. */
export const family = (product: string): string =>
  `(SELECT ${product} UNION SELECT product_id FROM same_goods WHERE leads = ${product})`;

const PART = columns("product", ["id", "name", "sku"], "p");

/** The products that were made one with this one. */
export const partsOf = (product: string): Question<Row<typeof PART>> =>
  select(
    PART,
    "FROM same_goods AS g JOIN product AS p ON p.id = g.product_id " +
      "WHERE g.leads = ?1 AND g.product_id <> ?1 ORDER BY p.name COLLATE NOCASE",
    [product],
  );

const LEAD = { id: asText("g.leads"), name: asText("p.name") };

/** The product that leads this one, where it was made one with another. */
export const leadOf = (product: string): Question<Row<typeof LEAD>> =>
  select(
    LEAD,
    "FROM same_goods AS g JOIN product AS p ON p.id = g.leads " +
      "WHERE g.product_id = ?1 AND g.leads <> ?1",
    [product],
  );

/** Make a product one with another, which leads. Throws `UsageError`: `same_product`. */
export async function merge(product: string, into: string): Promise<void> {
  await replica().transaction(async (tx) => {
    const led = select({ lead: asText(leading("?1")) }, "", [into]);
    const [found] = await answers(led, (sql, params) => tx.execute(sql, params));
    if (found?.lead === product || into === product)
      throw new UsageError("they are one product already", "same_product");
    await tx.execute("UPDATE product SET merged_into = ?, archived = 1 WHERE id = ?", [
      into,
      product,
    ]);
  });
}

/** Undo it: the product is one of its own again. */
export async function part(product: string): Promise<void> {
  await replica().write([
    {
      sql: "UPDATE product SET merged_into = NULL, archived = 0 WHERE id = ?",
      params: [product],
    },
  ]);
}
