/**
 * Refused changes that can be mended: the same again, with what was wrong put right.
 *
 * Knows: what the server refuses a product for. Must not know: how it is shown. The refused change is
 * given up only when the mended one is saved; killed in between, it is asked about once more, and what is
 * written already is not written twice. The twin of `stockroom/refused.py`.
 */

import { type Refused, type RefusedChange, UsageError } from "@holdfast/browser";

import { checkApart, follow, wayOf } from "./followed.js";
import * as products from "./products.js";
import { ask, replica } from "./replica.js";
import { text, whole } from "./rows.js";

/** The SKU is another's, to the letter or as a person reads it. */
const TAKEN: readonly string[] = ["unique", "rule:sku_like"];

/** The product whose SKU somebody else has taken meanwhile, new or changed; null for anything else. */
export function takenSku(item: Refused): RefusedChange | null {
  if (!TAKEN.includes(item.code) || item.state === "held") return null;
  const [product, ...more] = item.changes.filter(({ table }) => table !== "barcode");
  const mendable = product?.table === "product" && product.op !== "delete" && "sku" in product.new;
  return mendable && more.length === 0 ? product : null;
}

/** The same change with another SKU, and what waits for that product. Throws `UsageError`: `sku_exists`,
 * `barcode_exists`, `no_product`. */
export async function useOtherSku(item: Refused, sku: string): Promise<void> {
  const change = takenSku(item);
  if (change === null) return;
  const codesOf = (op: string): products.Code[] =>
    item.changes
      .filter((one) => one.table === "barcode" && one.op === op)
      .map(({ key, new: made }) => ({ code: key, pack: Number(made["pack"] ?? 1) }));
  const codes = { added: codesOf("insert"), removed: codesOf("delete").map(({ code }) => code) };
  const [before] = await ask(products.one(change.key));
  if (before !== undefined) {
    const wanted = Object.fromEntries(
      Object.entries(change.new)
        .filter(([name]) => name in before)
        .map(([name, wire]) => [name, likeIn(before, name, wire)]),
    );
    await products.edit(before, { ...before, ...wanted, sku }, codes);
  } else if (change.op === "insert")
    // With the id it had: what was received of it names that.
    await products.add({ ...fieldsOf(change.new), sku }, codes.added, change.key);
  else throw new UsageError(change.key, "no_product");
  const own = ownOf(await replica().refused(), change.key);
  await replica().discard(item.id);
  // What rests on another that waits can go on only after it: as long as some have gone, once more.
  for (let before = Infinity; ;) {
    const waiting = (await replica().refused()).filter(
      (other) => other.heldBy === item.number || names(other, own),
    );
    if (waiting.length === 0 || waiting.length === before) break;
    before = waiting.length;
    for (const other of waiting) await goOn(other.id);
  }
}

/** What everybody who adds products may change of one that is there. */
const WORDS = ["name", "description", "shelf", "notes"] as const;
/** What only a manager may; it goes alone, so that a refusal of it costs nothing else. */
const MANAGED = ["price", "cost", "currency", "unit"] as const;
type Typed = (typeof WORDS)[number] | (typeof MANAGED)[number];
/** What a new product says where nothing was typed. */
const UNTYPED: readonly unknown[] = ["", null, undefined];
const DEFAULTS: Readonly<Partial<Record<Typed, unknown>>> = { price: 0, unit: "piece" };

export type Edits = Readonly<Partial<Pick<products.Fields, Typed>>>;

/** Return what a refused new product says otherwise than the one that is there: what somebody has typed, never
 * a default. An amount is one of its currency: they go together, or not at all. */
export function editsOf(
  there: products.Product,
  made: Readonly<Record<string, unknown>>,
): Partial<Pick<products.Fields, Typed>> {
  const typed = fieldsOf(made);
  const given = new Set<Typed>(
    [...WORDS, ...MANAGED].filter(
      (name) =>
        name !== "currency" && !UNTYPED.includes(typed[name]) && typed[name] !== DEFAULTS[name],
    ),
  );
  if (typed.currency !== there.currency) {
    if (given.has("price")) given.add("currency").add("cost");
    else given.delete("cost");
  }
  const names = [...given].filter((name) => typed[name] !== there[name]);
  return Object.fromEntries(names.map((name) => [name, typed[name]]));
}

/**
 * The refused new product is the one that has its SKU: what else was typed of it becomes an edit of that
 * one, and its codes and movements go to that one. Throws `UsageError`: `no_product`, `undecided`,
 * `not_mendable`, `barcode_exists`.
 */
export async function sameProduct(item: Refused): Promise<void> {
  const change = takenSku(item);
  if (change === null || change.op !== "insert")
    throw new UsageError("this is not a new product whose SKU is taken", "not_mendable");
  const there = await products.holderOfSku(text(change.new["sku"]), change.key);
  if (there === null) throw new UsageError("the other product is gone", "no_product");
  const waiting = await replica().refused();
  const own = ownOf(waiting, change.key);
  const naming = [item, ...waiting.filter((one) => one.id !== item.id && names(one, own))];
  if (naming.some((one) => one.setAside))
    throw new UsageError("some of it is still to be decided: sync first", "undecided");
  const made: Record<string, unknown> = {};
  const parts = naming.flatMap(({ changes }) => changes);
  for (const part of parts.filter(({ key }) => key === change.key))
    if (part.table === "product") Object.assign(made, part.new);
    else if (part.table === "product_cost") made["cost"] = part.new["cost"];
  const way = await wayOf(parts, change.key, there.id);
  await checkApart(parts, way);
  for (const one of naming)
    await replica().transaction(async (tx) => await follow(tx, one.changes, way));
  const edits: Edits = editsOf(there, made);
  for (const columns of [WORDS, MANAGED]) {
    const changed = columns.filter((name) => name in edits);
    if (changed.length === 0) continue;
    const wanted = Object.fromEntries(changed.map((name) => [name, edits[name]]));
    await products.edit(there, { ...there, ...wanted }, { added: [], removed: [] });
  }
  for (const one of naming.reverse()) await replica().discard(one.id);
}

/** Whether something of it is about the product, or about a line that is of the product. */
const names = (item: Refused, own: ReadonlySet<string>): boolean =>
  item.changes.some(
    ({ key, new: made }) => own.has(key) || own.has(text(made["product_id"] ?? "")),
  );

/** The product's id, and those of its lines in deliveries that wait with it. */
const ownOf = (all: readonly Refused[], product: string): ReadonlySet<string> =>
  new Set([
    product,
    ...all
      .flatMap(({ changes }) => changes)
      .filter(({ table, new: made }) => table === "delivery_line" && made["product_id"] === product)
      .map(({ key }) => key),
  ]);

const NOT_NOW = ["no_refused", "undecided", "held", "no_row", "constraint"];

/** Again, and what builds on it; unless it has gone with another one already, or is still to be
 * decided. */
async function goOn(id: string): Promise<void> {
  try {
    await replica().retry(id);
  } catch (error) {
    if (!(error instanceof UsageError) || !NOT_NOW.includes(error.code)) throw error;
  }
}

/** A new product as it was to be made. */
function fieldsOf(made: Readonly<Record<string, unknown>>): products.Fields {
  return {
    sku: text(made["sku"]), name: text(made["name"]), description: text(made["description"]),
    shelf: text(made["shelf"]), notes: text(made["notes"]), price: whole(made["price"]),
    cost: made["cost"] == null ? null : whole(made["cost"]), currency: text(made["currency"] ?? "EUR"),
    unit: text(made["unit"] ?? "piece"), archived: made["archived"] === true, unpriced: made["unpriced"] === true,
  }; // prettier-ignore
}

/** A value of the wire as the app has it: integers travel as texts. */
function likeIn(product: products.Product, name: string, wire: unknown): unknown {
  const number = name === "cost" || typeof product[name as keyof products.Product] === "number";
  return number && wire !== null ? Number(wire) : wire;
}
