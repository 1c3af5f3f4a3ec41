/**
 * Cases: codes that name several pieces at once, as they are typed and scanned.
 *
 * Knows: how a pack size is written beside a code, and which piece a case of it is likely to hold. Must not
 * know: the database. The twin of `stockroom/packs.py`; both are held to `tests/cases/packs.json`.
 */

import { canonical, checkDigit } from "./codes.js";
import { plainDigits } from "./quantity.js";
import { PACK_MAX } from "./schema.generated.js";

const WITH_PACK = /^(.*\S)(?:\s+[xX×]\s*|\s*[*×]\s*)([0-9]{1,9})\s*$/;
/** A GTIN-14 of a case; one that begins with 9 is of goods that are weighed. */
const CASE = /^[1-8][0-9]{13}$/;

export interface WithPack {
  readonly code: string;
  /** Pieces in what has the code; null where it is not said. */
  readonly pack: number | null;
}

/** A code and the pieces in what has it: `1400… x12`, also `×12` or `*12`. */
export function readPack(text: string): WithPack {
  const [, code, pack] = WITH_PACK.exec(text) ?? [];
  if (code === undefined) return { code: text.trim(), pack: null };
  return { code: code.trim(), pack: Number(pack) };
}

/** A pack size as it is typed; null where it is none. */
export function parsePack(typed: string): number | null {
  const text = plainDigits(typed).trim();
  const pack = /^[0-9]+$/.test(text) ? Number(text) : 0;
  return pack >= 1 && pack <= PACK_MAX ? pack : null;
}

/** The code of the goods of which a code may be a case, by GS1's rule for GTIN-14; else "". */
export function pieceOf(code: string): string {
  const found = canonical(code);
  if (!CASE.test(found) || !found.endsWith(checkDigit(found.slice(0, -1)))) return "";
  const body = found.slice(1, 13);
  return canonical(body + checkDigit(body));
}
