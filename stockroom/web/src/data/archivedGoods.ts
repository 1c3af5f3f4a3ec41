/**
 * Goods that were archived while some of them are on hand: still sold, or not any more.
 *
 * Knows: the question, and what an answer writes. Must not know: how a question is found (the server's rule
 * `archived_goods_are_asked_about` does that) or shown. The twin of `stockroom/archived_goods.py`. The goods
 * stay on hand whatever is answered; the first answer stands.
 */

import { UsageError } from "@holdfast/browser";

import { replica } from "./replica.js";
import {
  answers,
  asText,
  asWhole,
  column,
  columns,
  orNull,
  type Question,
  type Row,
  select,
} from "./rows.js";
import { actor } from "./stock.js";

export const ARCHIVED = "archived_with_stock";
/** `offer`: they are sold again; `leave`: they stay archived, and on hand. */
export type ArchivedAnswer = "offer" | "leave";

const CHANGED = (what: string): string =>
  `(SELECT c.${what} FROM product_change AS c WHERE c.product_id = p.id AND c.field = 'archived' ` +
  "AND c.new_value = '1' ORDER BY c.changed_at DESC LIMIT 1)";
const CAME = (what: string): string =>
  `(SELECT m.${what} FROM movement AS m WHERE m.product_id = p.id AND m.store_id = q.store_id ` +
  "AND m.quantity > 0 AND m.kind <> 'reversal' ORDER BY m.occurred_at DESC LIMIT 1)";
const ON_HAND =
  "(SELECT coalesce(sum(s.quantity), 0) FROM stock_on_hand AS s WHERE s.product_id = p.id AND s.store_id = q.store_id)";
const ASKED = {
  id: column("question", "id", "q"),
  product: column("product", "id", "p"),
  ...columns("product", ["name", "sku"], "p"),
  category: orNull(asText("p.category_id")),
  onHand: asWhole(ON_HAND),
  archivedBy: asText(CHANGED("person")),
  archivedAt: orNull(asWhole(CHANGED("changed_at"))),
  came: orNull(asWhole(CAME("quantity"))),
  cameBy: asText(CAME("person")),
  cameAt: orNull(asWhole(CAME("occurred_at"))),
};
/** `came`: what came in last, `cameBy` whom; times in µs since 1970. */
export type ArchivedGoods = Row<typeof ASKED>;

/** Query of archived goods of a store with some on hand, about which nobody has decided. */
export const archivedAt = (store: string): Question<ArchivedGoods> =>
  select(
    ASKED,
    "FROM question AS q JOIN product AS p ON p.id = q.about_key AND p.archived = 1 " +
      `WHERE q.kind = '${ARCHIVED}' AND q.decided = '' AND q.store_id = ? AND ${ON_HAND} > 0 ` +
      "ORDER BY q.asked_at, q.id",
    [store],
  );

const ROW = {
  product: column("question", "about_key", "q"),
  decided: column("question", "decided", "q"),
};

/** Answer a question. Throws `UsageError`: `no_question`, `already_decided`. */
export async function decideArchived(id: string, answer: ArchivedAnswer): Promise<void> {
  const { person } = actor();
  await replica().transaction(async (tx) => {
    const [asked] = await answers(
      select(ROW, `FROM question AS q WHERE q.id = ? AND q.kind = '${ARCHIVED}'`, [id]),
      (sql, params) => tx.execute(sql, params),
    );
    if (asked === undefined) throw new UsageError("there is no such question", "no_question");
    if (asked.decided !== "") throw new UsageError("it is decided", "already_decided");
    await tx.execute(
      "UPDATE question SET decided = ?, decided_by = ?, decided_at = ? WHERE id = ?",
      [answer, person, replica().deviceNowUs(), id],
    );
    if (answer === "offer")
      await tx.execute("UPDATE product SET archived = 0 WHERE id = ?", [asked.product]);
  });
}
