/**
 * What runs out: goods below zero, out, and low by the rules of a store.
 *
 * Knows: when goods are low. Must not know: how it is shown. A rule of 0 says that the goods are kept in stock: they are
 * out when there are none. Goods without a rule are below zero at most.
 */

import { asText, asWhole, column, columns, type Question, type Row, select } from "./rows.js";

/** The gravest first. */
export const STATES = ["below", "out", "low"] as const;
export type GoodsState = (typeof STATES)[number];

/** Return how it stands with goods; null when there is enough. `lowAt`: null without a rule. */
export function stateOf(onHand: number, lowAt: number | null): GoodsState | null {
  if (onHand < 0) return "below";
  if (lowAt === null) return null;
  if (onHand === 0) return "out";
  return onHand <= lowAt ? "low" : null;
}

/** Goods at a store with their state, from what has a rule and what is below zero to their names: never the other way. */
const STANDING =
  "(SELECT product, low_at, on_hand, CASE WHEN on_hand < 0 THEN 'below' WHEN on_hand = 0 THEN 'out' " +
  "ELSE 'low' END AS state FROM (" +
  "SELECT r.product_id AS product, r.reorder_at AS low_at, coalesce((SELECT sum(s.quantity) " +
  "FROM stock_on_hand AS s WHERE s.store_id = ?1 AND s.product_id = r.product_id), 0) AS on_hand " +
  "FROM reorder_rule AS r WHERE r.store_id = ?1 " +
  // What is below zero in all is so at one place at least, and of those there are few.
  "UNION ALL SELECT b.product, NULL, (SELECT sum(s.quantity) FROM stock_on_hand AS s " +
  "WHERE s.store_id = ?1 AND s.product_id = b.product) AS on_hand FROM " +
  "(SELECT DISTINCT o.product_id AS product FROM stock_on_hand AS o INDEXED BY stock_below_zero " +
  "WHERE o.store_id = ?1 AND o.quantity < 0) AS b " +
  "WHERE NOT EXISTS (SELECT 1 FROM reorder_rule AS r " +
  "WHERE r.store_id = ?1 AND r.product_id = b.product)" +
  ") WHERE on_hand < 0 OR on_hand <= low_at) AS w CROSS JOIN product AS p ON p.id = w.product AND p.archived = 0";

const RUNNING_OUT = {
  ...columns("product", ["id", "sku", "name", "shelf", "unit", "archived"], "p"),
  category: column("product", "category_id", "p"),
  onHand: asWhole("w.on_hand"),
  lowAt: { sql: "w.low_at", read: (value: unknown) => (value === null ? null : Number(value)) },
};
export type RunningOut = Row<typeof RUNNING_OUT>;

/** Goods that run out at a store, the gravest first; those of one state alone where one is named. */
export const runningOut = (
  store: string,
  state: GoodsState | "",
  count: number,
): Question<RunningOut> =>
  select(
    RUNNING_OUT,
    `FROM ${STANDING} WHERE ?2 IN ('', w.state) ` +
      "ORDER BY w.on_hand > 0, w.on_hand >= 0, w.on_hand * 1.0 / max(coalesce(w.low_at, 1), 1), p.name COLLATE NOCASE, p.id " +
      "LIMIT ?3",
    [store, state, count],
  );

const COUNTED = { state: asText("w.state"), count: asWhole("count(*)") };

/** How many goods of each state there are. */
export const countStates = (store: string): Question<Row<typeof COUNTED>> =>
  select(COUNTED, `FROM ${STANDING} GROUP BY w.state`, [store]);
