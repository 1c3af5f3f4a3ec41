/**
 * Where a scan leads that no screen counts: to the product, or to what can be done with an unknown code.
 *
 * Knows: the ways. Must not know: what the screens show.
 */

import { pieceOf } from "../data/packs.js";
import { byCode } from "../data/products.js";
import { rights } from "../data/rights.svelte.js";
import { go } from "./router.svelte.js";

export async function lookUp(code: string): Promise<void> {
  const found = await byCode(code);
  if (found !== null) return go(`/product/${found.id}`);
  const piece = pieceOf(code);
  const isCase = piece !== "" && (await byCode(piece)) !== null;
  const to = isCase || !rights.may("add") ? "/scan?unknown=" : "/product/new?barcode=";
  go(to + encodeURIComponent(code));
}
