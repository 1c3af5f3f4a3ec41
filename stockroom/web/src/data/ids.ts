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
