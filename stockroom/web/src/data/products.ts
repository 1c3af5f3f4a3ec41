/**
 * The catalogue: finding, adding and editing products, online or not.
 *
 * Knows: what a product is, and the SQL of it. Must not know: stock, or how it is shown. The twin of
 * `stockroom/catalogue.py`: the same rows by the same rules.
 */

import { type AppRow, type AppValue, UsageError } from "@holdfast/browser";

import { canonical } from "./codes.js";
import { COST, keepsCosts, setCost } from "./costs.js";
import { productId } from "./ids.js";
import type { WithPack } from "./packs.js";
import { ask, replica } from "./replica.js";
import {
  answers,
  asText,
  asWhole,
  column,
  columns,
  insert,
  orNull,
  type NewRow,
  type Question,
  type Row,
  type Run,
  select,
} from "./rows.js";
import { family, leading } from "./sameGoods.js";
import { EDITABLE } from "./schema.generated.js";
import { folded, like, spellings } from "./skus.js";
import { beginnings, vocabulary } from "./words.js";

const PRODUCT = { ...columns("product", ["id", ...EDITABLE], "p"), cost: COST };
/** `price` and `cost` in minor units of `currency`. */
export type Product = Row<typeof PRODUCT>;
export type Fields = Omit<Product, "id">;

export const FOUND_MAX = 200;

export const LINE = {
  ...columns("product", ["id", "sku", "name", "shelf", "unit", "archived"], "p"),
  ...columns("product", ["price", "currency", "unpriced"], "p"),
  categoryName: asText(
    "coalesce((SELECT c.name FROM category AS c WHERE c.id = p.category_id), '')",
  ),
  movedAt: orNull(
    asWhole(
      "(SELECT max(m.occurred_at) FROM movement AS m WHERE m.product_id = p.id AND m.store_id = ?1)",
    ),
  ),
  onHand: orNull(
    asWhole(
      "(SELECT sum(s.quantity) FROM stock_on_hand AS s WHERE s.product_id = p.id AND s.store_id = ?1)",
    ),
  ),
  category: column("product", "category_id", "p"),
  lowAt: orNull(
    asWhole(
      "(SELECT r.reorder_at FROM reorder_rule AS r WHERE r.store_id = ?1 AND r.product_id = p.id)",
    ),
  ),
};
/** A line of the stock list. `onHand`: null when it was never moved here; `lowAt`: null without a rule. */
export type ProductLine = Row<typeof LINE>;

/** What a thing is called in lists and messages. */
const GOODS = columns("product", ["id", "name", "sku"], "p");
export type Goods = Row<typeof GOODS>;

export const COUNT = select({ count: asWhole("count(*)") }, "FROM product WHERE archived = 0");

/** A stretch of the list in its order. */
export const stretch = (store: string, from: number, count: number): Question<ProductLine> =>
  select(
    LINE,
    "FROM (SELECT id AS wanted FROM product INDEXED BY product_in_order " +
      "WHERE archived = 0 ORDER BY name COLLATE NOCASE, id LIMIT ?2 OFFSET ?3) " +
      "JOIN product AS p ON p.id = wanted ORDER BY p.name COLLATE NOCASE, p.id",
    [store, count, from],
  );

/** Text that sorts behind everything that begins with `?3`: for a range of an index. */
const AFTER = "?3 || char(1114111)";

/** So many of each sort are looked at; each sort is in its own order. */
const some = (sql: string): string => `SELECT * FROM (${sql} LIMIT ${FOUND_MAX})`;

/** Lines of `wanted` (product, rank), the best first: a whole code before all, archived ones last. */
const ranked = (wanted: readonly string[]): string =>
  `FROM (SELECT ${leading("product")} AS leads, min(rank) AS rank FROM (${wanted.join(" UNION ALL ")}) ` +
  "GROUP BY 1) AS w JOIN product AS p ON p.id = w.leads " +
  `ORDER BY w.rank > 0, p.archived, w.rank, p.name COLLATE NOCASE, p.sku LIMIT ${FOUND_MAX}`;

const BY_WORDS = (rank: number, among = "words", when = "1"): string =>
  some(
    `SELECT w.product_id AS product, ${rank} AS rank FROM product_search AS f ` +
      `JOIN product_words AS w ON w.n = f.rowid WHERE f.${among} MATCH ?2 AND ${when}`,
  );
/** Words of names, and of where goods stand and who sends them. */
const ALL_WORDS = "product_search";
const NOTE =
  `document <> '' AND document >= ?3 COLLATE NOCASE AND document < ${AFTER} COLLATE NOCASE ` +
  "AND length(?3) > 2";

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
  // Half of all shelves begin with a single letter.
  BY_WORDS(4, ALL_WORDS, "length(?3) > 1"),
  some(`SELECT product_id, 5 FROM movement WHERE ${NOTE} ORDER BY document COLLATE NOCASE`),
  some(
    "SELECT l.product_id, 5 FROM delivery AS d JOIN delivery_line AS l ON l.delivery_id = d.id " +
      `WHERE d.${NOTE} AND d.status = 'draft' AND l.removed = 0`,
  ),
]);

/**
 * Products by what is typed: a whole barcode or SKU, their beginnings, the beginning of a name,
 * names with all these words, goods of which shelf and supplier have the words that the name has not, and
 * what came with a delivery note that begins so, in this order. Null when nothing is typed.
 */
export function search(store: string, typed: string): Question<ProductLine> | null {
  const words = beginnings(typed);
  if (words === "") return null;
  return select(LINE, SEARCH, [store, words, typed.trim(), canonical(typed)]);
}

const SIMILAR = ranked([
  BY_WORDS(1),
  BY_WORDS(2, ALL_WORDS),
  some("SELECT product_id, 2 FROM barcode WHERE length(?3) > 3 AND code LIKE '%' || ?3"),
]);

/** Products by what may have been meant (`words.ts`), or by the last digits of a barcode. */
export const similar = (store: string, words: string, digits: string): Question<ProductLine> =>
  select(LINE, SIMILAR, [store, words, digits]);

const WORD_COUNT = select({ count: asWhole("count(*)") }, "FROM search_word");
const WORDS = select({ word: asText("word") }, "FROM search_word");

let known: { readonly count: number; readonly words: readonly string[] } = { count: 0, words: [] };

/** Every word of every name; read again when there are more. */
export async function wordsOfNames(): Promise<readonly string[]> {
  const [{ count } = known] = await ask(WORD_COUNT);
  if (count !== known.count)
    known = { count, words: vocabulary((await ask(WORDS)).map(({ word }) => word)) };
  return known.words;
}

export const one = (id: string): Question<Product> =>
  select(PRODUCT, "FROM product AS p WHERE p.id = ?", [id]);

/** What some products are called; in no order. */
export const named = (ids: readonly string[]): Question<Goods> =>
  select(GOODS, "FROM product AS p WHERE p.id IN (SELECT value FROM json_each(?))", [
    JSON.stringify(ids),
  ]);

const CODE = columns("barcode", ["code", "pack"], "b");
/** A code that names a product; `pack`: so many are in what has it. */
export type Code = Row<typeof CODE>;

export const barcodes = (id: string): Question<Code> =>
  select(CODE, `FROM barcode AS b WHERE b.product_id IN ${family("?1")} ORDER BY b.code`, [id]);

/** A product with its barcodes; null when it is not there any more. */
export async function withCodes(
  id: string,
): Promise<{ readonly product: Product; readonly codes: readonly Code[] } | null> {
  const [[product], codes] = await Promise.all([ask(one(id)), ask(barcodes(id))]);
  return product === undefined ? null : { product, codes };
}

const SCANNED = { ...GOODS, pack: asWhole("w.pack") };
/** Product that a code names; `pack`: the pieces that one scan of it counts. */
export type Scanned = Row<typeof SCANNED>;

/** The product with this barcode, in whatever form, or else with exactly this SKU. */
export async function byCode(code: string): Promise<Scanned | null> {
  const found = select(
    SCANNED,
    "FROM (SELECT product_id AS wanted, 0 AS rank, pack FROM barcode WHERE code IN (?2, ?1) " +
      "UNION ALL SELECT id, 1, 1 FROM product WHERE sku = ?1) AS w " +
      `JOIN product AS p ON p.id = ${leading("w.wanted")} ORDER BY w.rank LIMIT 1`,
    [code, canonical(code)],
  );
  return (await ask(found))[0] ?? null;
}

const CATEGORY = columns("category", ["id", "name"], "c");
export const CATEGORIES = select(CATEGORY, "FROM category AS c ORDER BY c.name COLLATE NOCASE");

/** Query of who may have a SKU that a person would take for this one (`holderAmong`). */
export const holdersOfSku = (sku: string, except: string): Question<Product> =>
  select(
    PRODUCT,
    `FROM product AS p WHERE ${folded("p.sku")} IN (SELECT value FROM json_each(?)) AND p.id <> ?`,
    [JSON.stringify(spellings(sku)), except],
  );

/** The one that has it, to the letter or as a person reads it; null when it is free. */
export const holderAmong = (found: readonly Product[], sku: string): Product | null =>
  found.find((one) => one.sku === sku) ?? found.find((one) => like(one.sku) === like(sku)) ?? null;

export async function holderOfSku(sku: string, except: string): Promise<Product | null> {
  return holderAmong(await ask(holdersOfSku(sku, except)), sku);
}

/** Return which other product this barcode names already. */
export async function holderOfCode(code: string, except: string): Promise<string | null> {
  const holders = select(
    GOODS,
    `FROM barcode AS b JOIN product AS p ON p.id = ${leading("b.product_id")} ` +
      "WHERE b.code IN (?, ?) AND p.id <> ?",
    [code, canonical(code), except],
  );
  return (await ask(holders))[0]?.name ?? null;
}

/** Add a product, under an id it had before if there is one; its id. Throws `UsageError`: `sku_exists`,
 * `barcode_exists`. */
export async function add(
  fields: Fields,
  codes: readonly WithPack[],
  before: string | null = null,
  more: Partial<Pick<NewRow<"product">, "category_id">> = {},
): Promise<string> {
  const derived = before ?? (await productId(fields.sku, fields.name));
  let apart = false;
  const made = await replica().transaction(async (tx) => {
    apart = fields.cost !== null && (await keepsCosts(run(tx)));
    const taken = await answers(holdersOfSku(fields.sku, ""), run(tx));
    if (holderAmong(taken, fields.sku) !== null) throw new UsageError(fields.sku, "sku_exists");
    const known = await answers(one(derived), run(tx));
    // The product that was first called so has another SKU by now; this one is a new thing.
    const id = known.length > 0 ? replica().newId() : derived;
    const cost = apart ? null : fields.cost;
    const { sql, params } = insert("product", { ...fields, ...more, cost, id });
    await tx.execute(sql, params);
    for (const code of codes) await addCode(tx, id, code);
    return id;
  });
  // Alone: whoever cannot have the SKU loses nothing of it.
  if (apart) await replica().transaction((tx) => setCost(tx, made, fields.cost, fields.currency));
  return made;
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
  codes: { readonly added: readonly WithPack[]; readonly removed: readonly string[] },
): Promise<void> {
  let costsOther = false;
  await replica().transaction(async (tx) => {
    const [now] = await answers(one(before.id), run(tx));
    if (now === undefined) throw new UsageError("the product is not there any more", "no_product");
    const changed = EDITABLE.filter(
      (name) => before[name] !== fields[name] && now[name] !== fields[name],
    );
    const looked = [...changed, ...restsOn(changed)];
    const moved = EDITABLE.filter(
      (name) => looked.includes(name) && now[name] !== before[name] && now[name] !== fields[name],
    );
    if (moved.length > 0) throw new EditedMeanwhile(now, moved);
    if (changed.includes("sku")) {
      const taken = await answers(holdersOfSku(fields.sku, before.id), run(tx));
      if (holderAmong(taken, fields.sku) !== null) throw new UsageError(fields.sku, "sku_exists");
    }
    const apart = await keepsCosts(run(tx));
    const own = changed.filter((name) => !(apart && name === "cost"));
    if (own.length > 0)
      await tx.execute(
        `UPDATE product SET ${own.map((name) => `${name} = ?`).join(", ")} WHERE id = ?`,
        [...own.map((name): AppValue => fields[name]), before.id],
      );
    const isOther = changed.includes("currency") && fields.cost !== null;
    costsOther = apart && (changed.includes("cost") || isOther);
    for (const code of codes.removed)
      await tx.execute(`DELETE FROM barcode WHERE code = ?1 AND product_id IN ${family("?2")}`, [
        code,
        before.id,
      ]);
    for (const code of codes.added) await addCode(tx, before.id, code);
  });
  if (costsOther)
    await replica().transaction((tx) => setCost(tx, before.id, fields.cost, fields.currency));
}

export interface Writer {
  execute(sql: string, params?: AppRow): Promise<{ readonly rows: readonly AppRow[] }>;
}

const run =
  (tx: Writer): Run =>
  (sql, params) =>
    tx.execute(sql, params);

/** Let a code name a product. Throws `UsageError`: `barcode_exists`. */
export async function nameCode(product: string, code: WithPack): Promise<void> {
  await replica().transaction((tx) => addCode(tx, product, code));
}

/** Let a code name a product, or say how many are in what has it. */
export async function addCode(
  tx: Writer,
  product: string,
  { code: given, pack }: WithPack,
): Promise<void> {
  const code = canonical(given);
  const holders = select(
    { product: asText(leading("b.product_id")) },
    "FROM barcode AS b WHERE b.code = ?",
    [code],
  );
  const [holder] = await answers(holders, run(tx));
  if (holder !== undefined && holder.product !== product)
    throw new UsageError(code, "barcode_exists");
  const { sql, params } = insert("barcode", { code, product_id: product, pack: pack ?? 1 });
  if (holder === undefined) await tx.execute(sql, params);
  else if (pack !== null)
    await tx.execute("UPDATE barcode SET pack = ?1 WHERE code = ?2 AND pack <> ?1", [pack, code]);
}
