/**
 * New goods of a delivery that are not saved yet: what was typed of them, by their code.
 *
 * Knows: drafts, and which goods and lines there are. Must not know: how it is laid out. Upholds: what was typed
 * of one code is not lost to another one; what was saved is on the delivery once, whatever ended in between.
 */

import * as deliveries from "../data/deliveries.js";
import { byCode } from "../data/products.js";
import { parseWhole } from "../data/quantity.js";
import { ask } from "../data/replica.js";
import { place } from "../data/stores.svelte.js";
import { groupMark } from "../i18n/index.js";
import "../i18n/later.js";
import { draftNames, dropDraft, readDraft } from "../shell/draft.js";

export interface TypedGoods {
  readonly code: string;
  readonly name: string;
  readonly sku: string;
  readonly price: string;
  readonly many: string;
  readonly category: string;
}

const of = (delivery: string): string => `newGoods.${delivery}.`;

/** The draft's name. `delivery`: an id, or "" for one's own delivery. */
export const draftNameOf = (delivery: string, code: string): string => of(delivery) + code;

/** Code of goods that somebody has begun to type; "" when there are none. */
export async function begunGoods(delivery: string): Promise<string> {
  for (const name of draftNames(of(delivery))) {
    const kept = readDraft<TypedGoods>(name);
    if (kept === null) continue;
    if (!(await areSaved(kept, delivery))) return kept.code;
    dropDraft(name);
  }
  return "";
}

/** Whether they are: the browser may have ended before they were counted, and before the draft was dropped. */
async function areSaved(kept: TypedGoods, delivery: string): Promise<boolean> {
  const made = await byCode(kept.code);
  if (made?.sku !== kept.sku.trim() || made.name !== kept.name.trim()) return false;
  const id = delivery === "" ? await deliveries.ownDraft(place.store) : delivery;
  const isThere = (await ask(deliveries.lines(id))).some(({ product }) => product === made.id);
  const many = parseWhole(kept.many, groupMark);
  if (!isThere && typeof many === "number") await deliveries.add(place.store, id, made.id, many);
  return true;
}
