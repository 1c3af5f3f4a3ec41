/**
 * The list of what comes in with a shipment, or was scanned.
 *
 * Knows: how goods are added to a list. Must not know: where the list is shown, or how it is received. Two
 * of the same are one line.
 */

import * as deliveries from "../data/deliveries.js";
import { ask } from "../data/replica.js";
import { written } from "../data/stock.js";
import { place } from "../data/stores.svelte.js";
import { dropDraft, readDraft } from "../shell/draft.js";

export interface Goods {
  readonly id: string;
  readonly name: string;
  readonly sku: string;
}
/**
 * `quantity`: as it is typed; null while its field is empty. `movement`: the id of the movement that the line
 * becomes, so that a line which is in the ledger is known, whoever wrote it.
 */
export interface Item extends Goods {
  quantity: number | null;
  readonly movement: string;
}
export interface Shipment {
  readonly document: string;
  readonly items: Item[];
}

/** The name of its draft. */
export const SHIPMENT = "receive";

/** One or more of it, on top of the list or on the line that it has. `movement`: of a new line. */
export function put(items: Item[], goods: Goods, movement: string, quantity = 1): void {
  const there = items.find((item) => item.id === goods.id);
  if (there !== undefined) there.quantity = (there.quantity ?? 0) + quantity;
  else items.unshift({ id: goods.id, name: goods.name, sku: goods.sku, quantity, movement });
}

/**
 * Put a list that this device has kept outside of the replica on a draft; what is in the ledger is left out.
 * A list that has changed meanwhile, in a tab of an older version, stays kept for the next time.
 */
export async function takeOver(): Promise<void> {
  await navigator.locks.request("stockroom.shipment", async () => {
    const kept = readDraft<Shipment>(SHIPMENT);
    if (kept === null || place.store === "") return;
    const done = await ask(written(kept.items.map(({ movement }) => movement)));
    const open = kept.items.filter((item) => !done.some(({ id }) => id === item.movement));
    if (open.length > 0)
      await deliveries.startFrom(JSON.stringify(kept), place.store, open, kept.document);
    dropDraft(SHIPMENT, { holding: kept });
  });
}
