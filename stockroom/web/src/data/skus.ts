/**
 * SKUs as people type them: which two a person would take for one.
 *
 * Knows: that case, blanks and width make no other SKU. Must not know: who has which. The twin of
 * `stockroom/skus.py`; both are held to `tests/cases/skus.json`. A database finds those that may be one by
 * `folded`, among `spellings`; whether they are is `like`'s to say.
 */

/** SQL for a SKU without blanks and, as far as a database goes, without case. */
export const folded = (sku: string): string => `lower(replace(${sku}, ' ', ''))`;

/** The SKU as it is kept: without blanks around it, and with single ones in it. */
export const tidy = (text: string): string => text.replace(/\s+/g, " ").trim();

/** The SKU as it is compared. */
export const like = (sku: string): string =>
  sku.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC").replace(/\s+/g, "");

/** Forms in which a database may hold SKUs like this one, as `folded` gives them. */
export function spellings(sku: string): readonly string[] {
  const plain = sku.replace(/\s+/g, "");
  const narrow = plain.normalize("NFKC");
  const forms = [plain, narrow].flatMap((one) => [one, one.toLowerCase(), one.toUpperCase()]);
  const lower = (one: string): string => one.replace(/[A-Z]/g, (sign) => sign.toLowerCase());
  return [...new Set(forms.map(lower))].sort();
}
