/**
 * What the page of a product says besides its own row: where it belongs, what is on its way and in question.
 *
 * Knows: the tables that name a product. Must not know: how any of it is shown.
 */

import { asText, asWhole, orNull, type Question, type Row, select } from "./rows.js";

const ABOUT = {
  category: orNull(asText("p.category_id")),
  categoryName: asText(
    "coalesce((SELECT c.name FROM category AS c WHERE c.id = p.category_id), '')",
  ),
  supplierName: asText(
    "coalesce((SELECT s.name FROM supplier AS s WHERE s.id = p.supplier_id), '')",
  ),
  lowAt: orNull(asWhole("r.reorder_at")),
  upTo: asWhole("r.order_up_to"),
  /** Expected of drafts that are not booked yet. */
  onItsWay: asWhole(
    "(SELECT coalesce(sum(l.expected), 0) FROM delivery AS d CROSS JOIN delivery_line AS l " +
      "ON l.delivery_id = d.id AND l.product_id = p.id AND l.removed = 0 " +
      "WHERE d.store_id = ?2 AND d.status = 'draft')",
  ),
  /** Received perhaps twice: not counted until somebody has decided. */
  inQuestion: asWhole(
    "(SELECT coalesce(sum(q.in_question), 0) FROM question AS q CROSS JOIN movement AS m " +
      "ON m.id = q.about_key AND m.product_id = p.id WHERE q.store_id = ?2 AND q.decided = '')",
  ),
};
export type About = Row<typeof ABOUT>;

export const about = (product: string, store: string): Question<About> =>
  select(
    ABOUT,
    "FROM product AS p LEFT JOIN reorder_rule AS r ON r.store_id = ?2 AND r.product_id = p.id " +
      "WHERE p.id = ?1",
    [product, store],
  );
