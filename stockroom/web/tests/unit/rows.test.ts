/** Rows by name: what the schema does not know does not compile, and what is read is what was asked for. */

import { expect, test, vi } from "vitest";

import * as products from "../../src/data/products.js";
import { column, columns, insert, isKey, select, tables } from "../../src/data/rows.js";
import { EDITABLE, KINDS, TABLES } from "../../src/data/schema.generated.js";
import * as stock from "../../src/data/stock.js";
import en from "../../src/i18n/en.js";
import needs from "../../src/i18n/enNeeds.js";

// The reader's language is the browser's, which Node does not have.
vi.hoisted(() => vi.stubGlobal("navigator", { language: "en" }));

const id = "00000000-0000-5000-8000-000000000001";

/** Checked by `npm run check`: a line which compiles in spite of its mark is an error there. */
export function rejected(line: products.ProductLine, entry: stock.Entry): unknown[] {
  return [
    // @ts-expect-error The table does not exist.
    column("products", "name", "p"),
    // @ts-expect-error The table has no such column.
    column("product", "prize", "p"),
    // @ts-expect-error One of several does not exist.
    columns("movement", ["id", "amount"], "m"),
    // @ts-expect-error It was not asked for.
    line.notes,
    // @ts-expect-error A text is no number.
    line.name * 2,
    // @ts-expect-error It may be null.
    line.onHand.toFixed(),
    // @ts-expect-error There is nothing at a position.
    entry[3],
    // @ts-expect-error A column that has no default is missing.
    insert("product", { id, sku: "MUG" }),
    // @ts-expect-error A quantity is no text.
    insert("movement", { ...MOVED, quantity: "3" }),
    // @ts-expect-error Only what may be NULL can be null.
    insert("product", { id, sku: "MUG", name: null }),
    // @ts-expect-error The table has no such column.
    insert("barcode", { code: "1", product_id: id, kind: "ean" }),
    // @ts-expect-error Stock has never moved for this.
    stock.adjust("1", id, 1, { reason: "lost", note: "" }),
  ];
}

const MOVED = {
  id,
  product_id: id,
  location_id: id,
  store_id: "1",
  quantity: 3,
  kind: "found",
  occurred_at: 5,
} as const;

test("values are read by the name they were asked for, each as its type", () => {
  const { sql, read } = select(
    {
      ...columns("product", ["archived", "cost", "name"], "p"),
      sku: column("product", "sku", "q"),
    },
    "FROM product AS p",
  );
  expect(sql).toBe(
    'SELECT p.archived AS "archived", p.cost AS "cost", p.name AS "name", q.sku AS "sku" FROM product AS p',
  );
  expect(read([1, null, "Mug", "M-1"])).toEqual({
    archived: true,
    cost: null,
    name: "Mug",
    sku: "M-1",
  });
  expect(read([0, 250n, "Mug", "M-1"])).toMatchObject({ archived: false, cost: 250 });
});

test("a new row names its columns", () => {
  expect(insert("barcode", { product_id: id, code: "1" })).toEqual({
    sql: "INSERT INTO barcode (product_id, code) VALUES (?, ?)",
    params: [id, "1"],
  });
});

test("a key of one column is compared as it is", () => {
  expect(isKey("barcode", "b", "w.key")).toBe("b.code = w.key");
});

test("there are words for what the schema has", () => {
  expect(Object.keys(en.sync.tables)).toEqual(expect.arrayContaining([...tables]));
  // Goods that are missing are a correction whose reason says so.
  expect(Object.keys(en.entry.kinds)).toEqual([...KINDS, "missing"]);
  expect(Object.keys(needs.conflict.fields)).toEqual(expect.arrayContaining([...EDITABLE]));
  expect(Object.keys(TABLES.product.columns)).toEqual(expect.arrayContaining([...EDITABLE]));
});
