/**
 * A scan of a case in words: "1 case of 12 = 12".
 *
 * Knows: what a scan counts. Must not know: where it is counted.
 */

import type { Scanned } from "../data/products.js";
import { formatNumber, t } from "../i18n/index.js";
import "../i18n/later.js";

/** A case that was counted last. */
export type Case = Pick<Scanned, "id" | "name" | "pack">;

export const inWords = (pack: number, count = 1): string =>
  t("pack.counted", { count, pack: formatNumber(pack), units: formatNumber(pack * count) });
