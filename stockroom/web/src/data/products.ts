/**
 * The catalogue: finding, adding and editing products, online or not.
 *
 * Knows: what a product is, and the SQL of it. Must not know: stock, or how it is shown. The twin of
 * `stockroom/catalogue.py`: the same rows by the same rules.
 */

import { type AppRow, type AppValue, UsageError } from "@holdfast/browser";

import { canonical } from "./codes.js";
import { productId } from "./ids.js";
import { type Question, text, whole } from "./live.svelte.js";
import { replica } from "./replica.js";
import { beginnings, vocabulary } from "./words.js";

/** `price` and `cost` in minor units of `currency`. */
export interface Product {
  readonly id: string;
  readonly sku: string;
  readonly name: string;
  readonly description: string;
  readonly shelf: string;
  readonly notes: string;
  readonly price: number;
  readonly cost: number | null;
  readonly currency: string;
  readonly unit: string;
  readonly archived: boolean;
}

export type Fields = Omit<Product, "id">;

/** A line of the stock list. `onHand`: null when it was never moved here. */
export interface ProductLine {
  readonly id: string;
  readonly sku: string;
  readonly name: string;
  readonly shelf: string;
  readonly unit: string;
  readonly archived: boolean;
  readonly onHand: number | null;
}

const EDITABLE = [
  "sku",
  "name",
  "description",
  "shelf",
  "notes",
  "price",
  "cost",
  "currency",
  "unit",
  "archived",
] as const;
const COLUMNS = ["id", ...EDITABLE].map((name) => `p.${name}`).join(", ");
export const FOUND_MAX = 200;

const LINE =
  "p.id, p.sku, p.name, p.shelf, p.unit, p.archived, " +
  "(SELECT sum(s.quantity) FROM stock_on_hand AS s WHERE s.product_id = p.id AND s.store_id = ?1)";

export const readLine = (row: AppRow): ProductLine => ({
  id: text(row[0]),
  sku: text(row[1]),
  name: text(row[2]),
  shelf: text(row[3]),
  unit: text(row[4]),
  archived: whole(row[5]) === 1,
  onHand: row[6] === null ? null : whole(row[6]),
});

export const COUNT: Question = { sql: "SELECT count(*) FROM product WHERE archived = 0" };

/** A stretch of the list in its order. */
export function stretch(store: string, from: number, count: number): Question {
  return {
    sql:
      `SELECT ${LINE} FROM (SELECT id AS wanted FROM product INDEXED BY product_in_order ` +
      "WHERE archived = 0 ORDER BY name COLLATE NOCASE, id LIMIT ?2 OFFSET ?3) " +
      "JOIN product AS p ON p.id = wanted ORDER BY p.name COLLATE NOCASE, p.id",
    params: [store, count, from],
  };
}

/** Text that sorts behind everything that begins with `?3`: for a range of an index. */
const AFTER = "?3 || char(1114111)";

/** So many of each sort are looked at; each sort is in its own order. */
const some = (sql: string): string => `SELECT * FROM (${sql} LIMIT ${FOUND_MAX})`;

/** Lines of `wanted` (product, rank), the best first: a whole code before all, archived ones last. */
const ranked = (wanted: readonly string[]): string =>
  `SELECT ${LINE} FROM (SELECT product, min(rank) AS rank FROM (${wanted.join(" UNION ALL ")}) ` +
  "GROUP BY product) AS w JOIN product AS p ON p.id = w.product " +
  `ORDER BY w.rank > 0, p.archived, w.rank, p.name COLLATE NOCASE, p.sku LIMIT ${FOUND_MAX}`;

const BY_WORDS = (rank: number): string =>
  some(
    `SELECT w.product_id AS product, ${rank} AS rank FROM product_search AS f ` +
      "JOIN product_words AS w ON w.n = f.rowid WHERE f.words MATCH ?2",
  );

const SEARCH = ranked([
  "SELECT product_id AS product, 0 AS rank FROM barcode WHERE code IN (?3, ?4)",
  "SELECT id, 0 FROM product WHERE sku IN (?3, upper(?3))",
  some(`SELECT id, 1 FROM product WHERE sku >= upper(?3) AND sku < upper(${AFTER}) ORDER BY sku`),
  some(
    `SELECT product_id, 1 FROM barcode WHERE code >= ?3 AND code < ${AFTER} AND length(?3) > 1 ORDER BY code`,
  ),
  some(
    "SELECT id, 2 FROM product WHERE archived = 0 AND name >= ?3 COLLATE NOCASE " +
      `AND name < ${AFTER} COLLATE NOCASE ORDER BY name COLLATE NOCASE`,
  ),
  BY_WORDS(3),
]);

/**
 * Products by what is typed: a whole barcode or SKU, their beginnings, the beginning of a name, and
 * names with all these words, in this order. Null when nothing is typed.
 */
export function search(store: string, typed: string): Question | null {
  const words = beginnings(typed);
  return words === ""
    ? null
    : { sql: SEARCH, params: [store, words, typed.trim(), canonical(typed)] };
}

const SIMILAR = ranked([
  BY_WORDS(1),
  some("SELECT product_id, 2 FROM barcode WHERE length(?3) > 3 AND code LIKE '%' || ?3"),
]);

/** Products by what may have been meant (`words.ts`), or by the last digits of a barcode. */
export const similar = (store: string, words: string, digits: string): Question => ({
  sql: SIMILAR,
  params: [store, words, digits],
});

let known: { readonly count: number; readonly words: readonly string[] } = { count: 0, words: [] };

/** Every word of every name; read again when there are more. */
export async function wordsOfNames(): Promise<readonly string[]> {
  const counted = await replica().query("SELECT count(*) FROM search_word");
  const count = whole(counted.rows[0]?.[0]);
  if (count !== known.count) {
    const { rows } = await replica().query("SELECT word FROM search_word");
    known = { count, words: vocabulary(rows.map((row) => text(row[0]))) };
  }
  return known.words;
}

export const one = (id: string): Question => ({
  sql: `SELECT ${COLUMNS} FROM product AS p WHERE p.id = ?`,
  params: [id],
});

/** The product that has a SKU. */
export const bySku = (sku: string): Question => ({
  sql: `SELECT ${COLUMNS} FROM product AS p WHERE p.sku = ?`,
  params: [sku],
});

export const readProduct = (row: AppRow): Product => ({
  id: text(row[0]),
  sku: text(row[1]),
  name: text(row[2]),
  description: text(row[3]),
  shelf: text(row[4]),
  notes: text(row[5]),
  price: whole(row[6]),
  cost: row[7] === null ? null : whole(row[7]),
  currency: text(row[8]),
  unit: text(row[9]),
  archived: whole(row[10]) === 1,
});

export const barcodes = (id: string): Question => ({
  sql: "SELECT code FROM barcode WHERE product_id = ? ORDER BY code",
  params: [id],
});

/** A product with its barcodes; null when it is not there any more. */
export async function withCodes(
  id: string,
): Promise<{ readonly product: Product; readonly codes: readonly string[] } | null> {
  const [found, codes] = await Promise.all([
    replica().query(one(id).sql, [id]),
    replica().query(barcodes(id).sql, [id]),
  ]);
  const [row] = found.rows;
  if (row === undefined) return null;
  return { product: readProduct(row), codes: codes.rows.map((code) => text(code[0])) };
}

/** The product with this barcode, in whatever form, or else with exactly this SKU. */
export async function byCode(
  code: string,
): Promise<{ id: string; name: string; sku: string } | null> {
  const { rows } = await replica().query(
    "SELECT p.id, p.name, p.sku FROM barcode AS b JOIN product AS p ON p.id = b.product_id " +
      "WHERE b.code IN (?2, ?1) UNION ALL SELECT id, name, sku FROM product WHERE sku = ?1 LIMIT 1",
    [code, canonical(code)],
  );
  const row = rows[0];
  return row === undefined ? null : { id: text(row[0]), name: text(row[1]), sku: text(row[2]) };
}

/** Who has this SKU already; null when it is free. */
export async function holderOfSku(sku: string, except: string): Promise<string | null> {
  const { rows } = await replica().query("SELECT name FROM product WHERE sku = ? AND id <> ?", [
    sku,
    except,
  ]);
  return rows[0] === undefined ? null : text(rows[0][0]);
}

/** Which other product this barcode names already. */
export async function holderOfCode(code: string, except: string): Promise<string | null> {
  const { rows } = await replica().query(
    "SELECT p.name FROM barcode AS b JOIN product AS p ON p.id = b.product_id " +
      "WHERE b.code IN (?, ?) AND p.id <> ?",
    [code, canonical(code), except],
  );
  return rows[0] === undefined ? null : text(rows[0][0]);
}

/** Add a product, under an id it had before if there is one; its id. Throws `UsageError`: `sku_exists`,
 * `barcode_exists`. */
export async function add(
  fields: Fields,
  codes: readonly string[],
  before: string | null = null,
): Promise<string> {
  const derived = before ?? (await productId(fields.sku, fields.name));
  return await replica().transaction(async (tx) => {
    const known = await tx.execute("SELECT id, sku FROM product WHERE sku = ? OR id = ?", [
      fields.sku,
      derived,
    ]);
    if (known.rows.some((row) => row[1] === fields.sku))
      throw new UsageError(fields.sku, "sku_exists");
    // The product that was first called so has another SKU by now; this one is a new thing.
    const id = known.rows.length > 0 ? replica().newId() : derived;
    const marks = EDITABLE.map(() => "?").join(", ");
    await tx.execute(`INSERT INTO product (id, ${EDITABLE.join(", ")}) VALUES (?, ${marks})`, [
      id,
      ...EDITABLE.map((name): AppValue => fields[name]),
    ]);
    for (const code of codes) await addCode(tx, id, code);
    return id;
  });
}

type Column = keyof Fields;

/** What a column means depends on these: an amount is one of its currency. */
const RESTS_ON: Readonly<Partial<Record<Column, readonly Column[]>>> = {
  price: ["currency"],
  cost: ["currency"],
  currency: ["price", "cost"],
};

export const restsOn = (columns: readonly Column[]): readonly Column[] =>
  columns.flatMap((name) => RESTS_ON[name] ?? []);

/** Nothing was written: what the edit was based on is not there any more. */
export class EditedMeanwhile extends UsageError {
  override readonly name = "EditedMeanwhile";
  readonly now: Product;
  readonly columns: readonly Column[];

  constructor(now: Product, columns: readonly Column[]) {
    super(`somebody has changed ${columns.join(", ")} meanwhile`, "edited_meanwhile");
    this.now = now;
    this.columns = columns;
  }
}

/**
 * Change what differs from `before`: what was not changed cannot conflict. A server that merges sees only
 * what stood here when it is written, so what has come in since `before` was read has to be found here.
 *
 * Throws as `add` does, and `EditedMeanwhile`, `no_product`.
 */
export async function edit(
  before: Product,
  fields: Fields,
  codes: { readonly added: readonly string[]; readonly removed: readonly string[] },
): Promise<void> {
  await replica().transaction(async (tx) => {
    const [row] = (await tx.execute(one(before.id).sql, [before.id])).rows;
    if (row === undefined) throw new UsageError("the product is not there any more", "no_product");
    const now = readProduct(row);
    const changed = EDITABLE.filter(
      (name) => before[name] !== fields[name] && now[name] !== fields[name],
    );
    const looked = [...changed, ...restsOn(changed)];
    const moved = EDITABLE.filter(
      (name) => looked.includes(name) && now[name] !== before[name] && now[name] !== fields[name],
    );
    if (moved.length > 0) throw new EditedMeanwhile(now, moved);
    if (changed.includes("sku")) {
      const taken = await tx.execute("SELECT 1 FROM product WHERE sku = ? AND id <> ?", [
        fields.sku,
        before.id,
      ]);
      if (taken.rows.length > 0) throw new UsageError(fields.sku, "sku_exists");
    }
    if (changed.length > 0)
      await tx.execute(
        `UPDATE product SET ${changed.map((name) => `${name} = ?`).join(", ")} WHERE id = ?`,
        [...changed.map((name): AppValue => fields[name]), before.id],
      );
    for (const code of codes.removed)
      await tx.execute("DELETE FROM barcode WHERE code = ? AND product_id = ?", [code, before.id]);
    for (const code of codes.added) await addCode(tx, before.id, code);
  });
}

export interface Writer {
  execute(sql: string, params?: AppRow): Promise<{ readonly rows: readonly AppRow[] }>;
}

export async function addCode(tx: Writer, product: string, given: string): Promise<void> {
  const code = canonical(given);
  const holder = await tx.execute("SELECT product_id FROM barcode WHERE code = ?", [code]);
  const [row] = holder.rows;
  if (row !== undefined && row[0] !== product) throw new UsageError(code, "barcode_exists");
  if (row === undefined)
    await tx.execute("INSERT INTO barcode (code, product_id) VALUES (?, ?)", [code, product]);
}
