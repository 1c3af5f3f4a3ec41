/**
 * Identifiers: derived where two devices must meet. The twin of `stockroom/ids.py`, byte for byte.
 *
 * Knows: which rows are the same thing when two devices make them offline. Must not know: the replica.
 */

import { ID_NAMESPACE } from "./schema.generated.js";

async function derived(kind: string, name: string): Promise<string> {
  const space = Uint8Array.from(ID_NAMESPACE.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const words = new TextEncoder().encode(`${kind}\0${name}`);
  const input = new Uint8Array(space.length + words.length);
  input.set(space);
  input.set(words, space.length);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-1", input)).slice(0, 16);
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

/** Blanks and the case of ASCII letters make no other name. */
const folded = (name: string): string =>
  name
    .replace(/[ \t]+/g, " ")
    .replace(/^ +| +$/g, "")
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** Of the product that is added with this SKU and name. */
export const productId = (sku: string, name: string): Promise<string> =>
  derived("product", `${sku}\0${folded(name)}`);
export const firstLocationId = (store: string): Promise<string> => derived("location", store);
export const reversalId = (movement: string): Promise<string> => derived("reversal", movement);
/** Of the one line of a delivery that has this product. */
export const deliveryLineId = (delivery: string, product: string): Promise<string> =>
  derived("delivery_line", `${delivery}\0${product}`);
/** Of the movement that a line becomes; `before`: how much of the line was booked by then. */
export const receivedId = (line: string, before: number, quantity: number): Promise<string> =>
  derived("received", `${line}\0${before}\0${quantity}`);
/** Of the movement that takes out what arrived damaged with another. */
export const damagedId = (received: string): Promise<string> => derived("damaged", received);
/** Of the movement that books goods after all which were in question. */
export const againId = (movement: string): Promise<string> => derived("again", movement);
/** Of the draft that a list becomes which a browser has kept outside of the replica. */
export const keptListId = (list: string): Promise<string> => derived("kept_list", list);
