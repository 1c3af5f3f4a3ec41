/**
 * Changes of a product: what was changed, by whom, when and on which device, and taking one back.
 *
 * Knows: the history that the server writes (`stockroom/rules/history.py`). Must not know: how it is shown. What was not
 * sent yet is not in it.
 */

import { ask } from "./replica.js";
import * as products from "./products.js";
import { asText, column, columns, type Question, type Row, select } from "./rows.js";

export const CHANGES_STEP = 20;

const named = (table: string, value: string): string =>
  `coalesce((SELECT name FROM ${table} WHERE id = c.${value}), c.${value})`;
/** A value as a person reads it: of what is kept by its id, the name. */
const shown = (value: string): string =>
  `CASE c.field WHEN 'category_id' THEN ${named("category", value)} ` +
  `WHEN 'supplier_id' THEN ${named("supplier", value)} ` +
  `WHEN 'merged_into' THEN ${named("product", value)} ELSE c.${value} END`;

const CHANGE = {
  ...columns("product_change", ["id", "field", "lost", "person", "device"], "c"),
  at: column("product_change", "changed_at", "c"),
  by: asText("coalesce((SELECT name FROM person WHERE login = c.person), c.person)"),
  before: column("product_change", "old_value", "c"),
  after: column("product_change", "new_value", "c"),
  shownBefore: asText(shown("old_value")),
  shownAfter: asText(shown("new_value")),
};
/** A change of one field. `lost`: `dropped` when a later one stood, so that `after` never counted; `overridden` when
 * whoever made it had not seen `before`. */
export type Change = Row<typeof CHANGE>;

/** The newest changes of a product first. */
export const ofProduct = (product: string, count: number): Question<Change> =>
  select(
    CHANGE,
    "FROM product_change AS c WHERE c.product_id = ? ORDER BY c.changed_at DESC, c.id LIMIT ?",
    [product, count],
  );

/** Words of a product: everybody who may add products words them. */
const WORDS = ["name", "shelf", "description", "notes"] as const;
type Words = (typeof WORDS)[number];
const isWords = (field: string): field is Words => (WORDS as readonly string[]).includes(field);

/** Value that would stand again if a change was taken back: of one that never counted, what it said; null where there is
 * nothing to take back, or another form is meant for it. */
export function restores(
  change: Pick<Change, "field" | "lost" | "before" | "after">,
  now: Pick<products.Product, Words>,
): string | null {
  const { field, lost, before, after } = change;
  if (!isWords(field)) return null;
  const wanted = lost === "dropped" ? after : before;
  return wanted === now[field] || (field === "name" && wanted === "") ? null : wanted;
}

/** Take a change back; what the product says meanwhile is found as with every edit. */
export async function takeBack(product: string, change: Change): Promise<void> {
  const [now] = await ask(products.one(product));
  const wanted = now === undefined ? null : restores(change, now);
  if (now === undefined || wanted === null || !isWords(change.field)) return;
  await products.edit(now, { ...now, [change.field]: wanted }, { added: [], removed: [] });
}
