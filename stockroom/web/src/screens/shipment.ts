/**
 * The list of what comes in with a shipment, or was scanned.
 *
 * Knows: how goods are added to a list. Must not know: where the list is shown, or how it is received. Two
 * of the same are one line.
 */

import { QUANTITY_MAX } from "../data/stock.js";

export interface Goods {
  readonly id: string;
  readonly name: string;
  readonly sku: string;
}
/** `quantity`: as it is typed; null while its field is empty. */
export interface Item extends Goods {
  quantity: number | null;
}
export interface Shipment {
  readonly document: string;
  readonly items: Item[];
}

/** The name of its draft. */
export const SHIPMENT = "receive";

/** One or more of it, on top of the list or on the line that it has. */
export function put(items: Item[], goods: Goods, quantity = 1): void {
  const there = items.find((item) => item.id === goods.id);
  if (there !== undefined) there.quantity = (there.quantity ?? 0) + quantity;
  else items.unshift({ id: goods.id, name: goods.name, sku: goods.sku, quantity });
}

export const unitsIn = (items: readonly Item[]): number =>
  items.reduce((sum, { quantity }) => sum + (quantity ?? 0), 0);

const fits = ({ quantity }: Item): boolean =>
  quantity !== null && Number.isInteger(quantity) && quantity >= 1 && quantity <= QUANTITY_MAX;

export const areReceivable = (items: readonly Item[]): boolean =>
  items.length > 0 && items.every(fits);

/** What was added while these were being saved. */
export function leftOf(items: readonly Item[], saved: readonly Item[]): Item[] {
  return items
    .map((item) => {
      const done = saved.find((one) => one.id === item.id)?.quantity ?? 0;
      return { ...item, quantity: (item.quantity ?? 0) - done };
    })
    .filter((item) => item.quantity > 0);
}
