/**
 * The list of what comes in with a shipment, or was scanned.
 *
 * Knows: how goods are added to a list. Must not know: where the list is shown, or how it is received. Two
 * of the same are one line.
 */

import { QUANTITY_MAX } from "../data/schema.generated.js";

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

export const unitsIn = (items: readonly Item[]): number =>
  items.reduce((sum, { quantity }) => sum + (quantity ?? 0), 0);

const fits = ({ quantity }: Item): boolean =>
  quantity !== null && Number.isInteger(quantity) && quantity >= 1 && quantity <= QUANTITY_MAX;

export const areReceivable = (items: readonly Item[]): boolean =>
  items.length > 0 && items.every(fits);

/** Return what was added while these were being saved; it becomes other movements, whose ids are made by `newId`. */
export function leftOf(
  items: readonly Item[],
  saved: readonly Item[],
  newId: () => string,
): Item[] {
  return items.flatMap((item) => {
    const done = saved.find(({ movement }) => movement === item.movement);
    if (done === undefined) return [item];
    const quantity = (item.quantity ?? 0) - (done.quantity ?? 0);
    return quantity > 0 ? [{ ...item, quantity, movement: newId() }] : [];
  });
}

/** Items that are not in the ledger yet. `received`: ids of movements that are. */
export const openOf = (items: readonly Item[], received: readonly string[]): Item[] =>
  items.filter(({ movement }) => !received.includes(movement));
