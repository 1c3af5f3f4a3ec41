/** What Python's Stockroom has too, held to the same cases: article numbers, ids, words of a search, and
 * what a refused product says otherwise. */

import { readFileSync } from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { canonical, doubt } from "../../src/data/codes.js";
import { againId, damagedId, deliveryLineId, productId, receivedId } from "../../src/data/ids.js";
import { formatPrice } from "../../src/data/money.js";
import { pieceOf, readPack } from "../../src/data/packs.js";
import { COMMA_LANGUAGES, POINT_LANGUAGES } from "../../src/data/currencies.generated.js";
import { decimalMark, type NotPrice, readPrice } from "../../src/data/prices.js";
import type { Product } from "../../src/data/products.js";
import { editsOf } from "../../src/data/refused.js";
import { like, tidy } from "../../src/data/skus.js";
import { beginnings, meant, vocabulary } from "../../src/data/words.js";

const CASES = path.resolve(import.meta.dirname, "../../../tests/cases");
const read = (name: string): unknown => JSON.parse(readFileSync(path.join(CASES, name), "utf8"));

interface Code {
  readonly text: string;
  readonly canonical: string;
  readonly doubt: string | null;
}

test.each(read("codes.json") as Code[])("the code $text", (one) => {
  expect(canonical(one.text)).toBe(one.canonical);
  expect(canonical(one.canonical)).toBe(one.canonical);
  expect(doubt(one.text)).toBe(one.doubt);
});

const PACKS = read("packs.json") as {
  readonly typed: readonly {
    readonly text: string;
    readonly code: string;
    readonly pack: number | null;
  }[];
  readonly pieces: readonly { readonly case: string; readonly piece: string }[];
};

test.each(PACKS.typed)("the pack size in $text", ({ text, code, pack }) => {
  expect(readPack(text)).toEqual({ code, pack });
});

test.each(PACKS.pieces)("the piece in $case", (one) => {
  expect(pieceOf(one.case)).toBe(one.piece);
});

const SKUS = read("skus.json") as Record<"alike" | "different" | "tidy", [string, string][]>;

test.each(SKUS.alike)("the SKU %s is %s", (one, other) => {
  expect(like(one)).toBe(like(other));
});

test.each(SKUS.different)("the SKU %s is not %s", (one, other) => {
  expect(like(one)).not.toBe(like(other));
});

test.each(SKUS.tidy)("the SKU %s is kept as %s", (typed, kept) => {
  expect(tidy(typed)).toBe(kept);
});

test.each(read("product_ids.json") as { sku: string; name: string; id: string }[])(
  "the product $sku, $name",
  async ({ sku, name, id }) => {
    expect(await productId(sku, name)).toBe(id);
  },
);

interface Delivered {
  readonly delivery: string;
  readonly product: string;
  readonly line: string;
  readonly before: number;
  readonly quantity: number;
  readonly received: string;
  readonly damaged: string;
  readonly again: string;
}

test.each(read("delivery_ids.json") as Delivered[])("received: $quantity", async (one) => {
  expect(await deliveryLineId(one.delivery, one.product)).toBe(one.line);
  expect(await receivedId(one.line, one.before, one.quantity)).toBe(one.received);
  expect(await damagedId(one.received)).toBe(one.damaged);
  expect(await againId(one.received)).toBe(one.again);
});

const WORDS = read("words.json") as {
  readonly names: readonly string[];
  readonly vocabulary: readonly string[];
  readonly typed: { typed: string; beginnings: string; meant: string | null }[];
};

test("names fall into the same words", () => {
  expect(vocabulary(WORDS.names)).toEqual(WORDS.vocabulary);
});

test.each(WORDS.typed)("typed: $typed", (one) => {
  expect(beginnings(one.typed)).toBe(one.beginnings);
  expect(meant(one.typed, WORDS.vocabulary)).toBe(one.meant);
});

interface Edits {
  readonly name: string;
  readonly there: Partial<Product>;
  readonly made: Readonly<Record<string, unknown>>;
  readonly edits: Partial<Product>;
}

/** A product of which nothing was said. */
const PLAIN: Product = {
  id: "p", sku: "A", name: "", description: "", shelf: "", notes: "", price: 0, cost: null,
  currency: "EUR", unit: "piece", archived: false, unpriced: false,
}; // prettier-ignore

/** As what was refused has it: integers travel as texts. */
const onTheWire = (made: Edits["made"]): Edits["made"] =>
  Object.fromEntries(
    Object.entries(made).map(([name, value]) => [
      name,
      typeof value === "number" ? String(value) : value,
    ]),
  );

test.each(read("edits.json") as Edits[])("$name", ({ there, made, edits }) => {
  expect(editsOf({ ...PLAIN, ...there }, onTheWire(made))).toEqual(edits);
});

test.each(read("prices.json") as [string, string, string, number | NotPrice][])(
  "the price %s, in %s and %s",
  (typed, currency, spoken, expected) => {
    expect(readPrice(typed, currency, spoken)).toBe(expected);
  },
);

test("languages have the marks before fractions that the browser knows, too", () => {
  const known = (tag: string): string | undefined =>
    new Intl.NumberFormat(`${tag}-u-nu-latn`)
      .formatToParts(1.5)
      .find(({ type }) => type === "decimal")?.value;
  for (const tag of [...POINT_LANGUAGES, ...COMMA_LANGUAGES, "de", "fr", "es", "pl", "en-GB"])
    expect([tag, decimalMark(tag)]).toEqual([tag, known(tag)]);
});

test("an amount has the digits of its currency, whatever the browser's own table says", () => {
  expect(formatPrice(12_345, "IQD", "en")).toMatch(/12\.345$/);
  expect(formatPrice(990, "CLP", "en")).toMatch(/990$/);
});
