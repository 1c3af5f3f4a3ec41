/**
 * Bytes that should be text: SQLite stores any bytes as text, and only the host can see whether they are.
 *
 * Knows: UTF-8. Must not know: where the bytes come from.
 */

import { toHex, type Value } from "../../core/values.js";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Return whether bytes are text; what is not bytes is no matter of theirs. */
export function isUtf8(text: Value | undefined): boolean {
  if (!(text instanceof Uint8Array)) return true;
  try {
    utf8.decode(text);
    return true;
  } catch {
    return false;
  }
}

/** Bytes that are no text, in letters: a key has to have a name. */
export function spelled(raw: Uint8Array): string {
  return [...raw]
    .map((byte) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${toHex(Uint8Array.of(byte))}`))
    .join("");
}
