/**
 * Figures of a store for who manages it: what its stock is worth, and what was lost.
 *
 * Knows: how worth is counted, at what goods cost. Must not know: how it is shown. It is of this device's copy, and on
 * devices alone that have what goods cost.
 */

import { LOST } from "./movements.js";
import { asText, asWhole, type Question, type Row, select } from "./rows.js";

const WORTH = {
  currency: asText("w.currency"),
  worth: asWhole("w.worth"),
  units: asWhole("w.units"),
  goods: asWhole("w.goods"),
};
/** Worth in minor units of a currency; of goods whose cost is not known, so many are `goods`, the currency is "". */
export type Worth = Row<typeof WORTH>;

/** `moved`: products with a quantity above zero, one row or more for each. */
const byCurrency = (moved: string): string =>
  "FROM (SELECT CASE WHEN c.cost IS NULL THEN '' ELSE c.currency END AS currency, " +
  "sum(q.quantity * coalesce(c.cost, 0)) AS worth, sum(q.quantity) AS units, " +
  "count(DISTINCT CASE WHEN c.cost IS NULL THEN q.product END) AS goods " +
  `FROM (${moved}) AS q LEFT JOIN product_cost AS c ON c.product_id = q.product ` +
  "GROUP BY 1) AS w ORDER BY w.worth DESC";

/**
 * What is on hand at a store, at what it cost; what is below zero at a place is worth nothing there. It reads all of the
 * store's stock: to be asked once, not followed.
 */
export const stockWorth = (store: string): Question<Worth> =>
  select(
    WORTH,
    byCurrency(
      "SELECT s.product_id AS product, s.quantity FROM stock_on_hand AS s " +
        "WHERE s.store_id = ?1 AND s.quantity > 0",
    ),
    [store],
  );

/** What was lost at a store since a moment, at what it cost; what was undone does not count. */
export const lostSince = (store: string, sinceUs: number): Question<Worth> =>
  select(
    WORTH,
    byCurrency(
      "SELECT m.product_id AS product, -m.quantity AS quantity " +
        "FROM movement AS m INDEXED BY movement_history WHERE m.store_id = ?1 AND m.occurred_at >= ?2 " +
        `AND ${LOST} AND m.quantity < 0 ` +
        "AND NOT EXISTS (SELECT 1 FROM movement AS r WHERE r.reverses = m.id)",
    ),
    [store, sinceUs],
  );
