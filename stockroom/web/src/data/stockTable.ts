/**
 * The list of stock in any order, of one category where one is named: which products, and what is told of each.
 *
 * Knows: how products are put in order. Must not know: how a list is shown. An order is asked for once, as ids; only the
 * lines that are in sight are read.
 */

import { LINE, type ProductLine } from "./products.js";
import { asText, asWhole, type Question, type Row, select } from "./rows.js";

const ON_HAND =
  "coalesce((SELECT sum(s.quantity) FROM stock_on_hand AS s WHERE s.product_id = p.id AND s.store_id = ?1), 0)";
/** What lists can be put in the order of; what has none of it comes last. */
const ORDERS = {
  name: "p.name COLLATE NOCASE",
  sku: "p.sku COLLATE NOCASE",
  category: "(SELECT c.name FROM category AS c WHERE c.id = p.category_id) COLLATE NOCASE",
  shelf: "nullif(p.shelf, '') COLLATE NOCASE",
  onHand: ON_HAND,
  lowAt:
    "(SELECT r.reorder_at FROM reorder_rule AS r WHERE r.store_id = ?1 AND r.product_id = p.id)",
  price: "CASE WHEN p.unpriced THEN NULL ELSE p.price END",
  movedAt:
    "(SELECT max(m.occurred_at) FROM movement AS m WHERE m.product_id = p.id AND m.store_id = ?1)",
} as const;
export type Order = keyof typeof ORDERS;
export const COLUMNS = Object.keys(ORDERS) as readonly Order[];

const ID = { id: asText("p.id") };

/** The products of a list, in its order. `category`: "" for all; `down`: the largest first. */
export const inOrder = (
  store: string,
  category: string,
  order: Order,
  down: boolean,
): Question<Row<typeof ID>> =>
  select(
    ID,
    "FROM product AS p WHERE p.archived = 0 AND (?1 IS NOT NULL) " +
      (category === "" ? "AND ?2 = '' " : "AND p.category_id = ?2 ") +
      `ORDER BY ${ORDERS[order]} ${down ? "DESC" : "ASC"} NULLS LAST, p.name COLLATE NOCASE, p.id`,
    [store, category],
  );

/** The lines of products, in the order in which they are named. */
export const linesOf = (store: string, ids: readonly string[]): Question<ProductLine> =>
  select(LINE, "FROM json_each(?2) AS j CROSS JOIN product AS p ON p.id = j.value ORDER BY j.key", [
    store,
    JSON.stringify(ids),
  ]);

const COUNTED = { id: asText("w.id"), name: asText("c.name"), count: asWhole("w.count") };

/** Categories that have goods, with how many. */
export const countCategories = (): Question<Row<typeof COUNTED>> =>
  select(
    COUNTED,
    "FROM (SELECT category_id AS id, count(*) AS count FROM product WHERE archived = 0 " +
      "AND category_id IS NOT NULL GROUP BY category_id) AS w CROSS JOIN category AS c ON c.id = w.id " +
      "ORDER BY c.name COLLATE NOCASE",
  );
