/**
 * Stock: movements written to the ledger, and what the ledger says is on hand.
 *
 * Knows: what a movement means. Must not know: how it is shown. The twin of `stockroom/stock.py`.
 * Each verb is one local transaction and none waits for a server. Stock may fall below zero: what
 * happened at the shelf is a fact; the screen warns about it.
 */

import type { AppRow, Statement } from "@holdfast/browser";

import { firstLocationId, reversalId } from "./ids.js";
import { type Question, text, whole } from "./live.svelte.js";
import { enrolled, replica } from "./replica.js";

export const QUANTITY_MAX = 1_000_000_000;

export const KINDS = [
  "receive",
  "sale",
  "use",
  "waste",
  "damage",
  "theft",
  "found",
  "customer_return",
  "supplier_return",
  "transfer_out",
  "transfer_in",
  "opening",
  "reversal",
  "correction",
] as const;
export type Kind = (typeof KINDS)[number];

/** Why a person corrects stock by hand. */
export const REASONS = [
  "damage",
  "waste",
  "theft",
  "found",
  "use",
  "customer_return",
  "supplier_return",
  "correction",
] as const satisfies readonly Kind[];
export type Reason = (typeof REASONS)[number];

/** An entry of the ledger. `at`: µs since 1970, by the device's own clock until the server has taken
 * it and corrected; `balance`: after it, at its location. */
export interface Entry {
  readonly id: string;
  readonly product: string;
  readonly productName: string;
  readonly quantity: number;
  readonly kind: string;
  readonly reason: string;
  readonly document: string;
  readonly person: string;
  readonly device: string;
  readonly at: number;
  readonly note: string;
  readonly reverses: string | null;
  readonly undone: boolean;
  readonly balance: number;
}

/** `movement`: the id of the movement it becomes, so that one list is received once. */
export interface Line {
  readonly product: string;
  readonly quantity: number;
  readonly movement: string;
}

const COLUMNS =
  "id, product_id, location_id, store_id, quantity, kind, reason, document, person, device, " +
  "occurred_at, note, reverses";
const INSERT = `INSERT INTO movement (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
/** Entries of a ledger that are shown at first, and with each wish for more. */
export const LEDGER_STEP = 50;

/** What is on hand at each store this device knows: store, its name, units. */
export const onHand = (product: string): Question => ({
  sql:
    "SELECT s.store_id, coalesce(nullif(t.name, ''), s.store_id), sum(s.quantity) " +
    "FROM stock_on_hand AS s LEFT JOIN store AS t ON t.id = s.store_id " +
    "WHERE s.product_id = ? GROUP BY s.store_id ORDER BY s.store_id",
  params: [product],
});

/** How much of it the server does not know of yet. */
export const unsent = (product: string, store: string): Question => ({
  sql:
    // From what waits to its rows, never the other way: a product may have thousands.
    "SELECT coalesce(sum(m.quantity), 0), count(*) FROM holdfast_pending AS w " +
    "CROSS JOIN movement AS m ON m.id = w.key WHERE w.tbl = 'movement' AND m.product_id = ? AND m.store_id = ?",
  params: [product, store],
});

const UNDONE = "EXISTS (SELECT 1 FROM movement AS r WHERE r.reverses = m.id)";

/**
 * The newest entries first, each with the balance after it: what is on hand now less what came later,
 * so that a long ledger is not read from its beginning.
 */
export const ledger = (product: string, store: string, count: number): Question => ({
  sql:
    "SELECT m.id, m.product_id, '', m.quantity, m.kind, m.reason, m.document, m.person, m.device, " +
    `m.occurred_at, m.note, m.reverses, ${UNDONE}, ` +
    "(SELECT s.quantity FROM stock_on_hand AS s WHERE s.product_id = m.product_id " +
    "AND s.location_id = m.location_id AND s.store_id = m.store_id) " +
    "- coalesce(sum(m.quantity) OVER (PARTITION BY m.location_id ORDER BY m.occurred_at DESC, m.id DESC " +
    "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) " +
    "FROM (SELECT * FROM movement WHERE product_id = ? AND store_id = ? " +
    "ORDER BY occurred_at DESC, id DESC LIMIT ?) AS m ORDER BY m.occurred_at DESC, m.id DESC",
  params: [product, store, count],
});

/** What happened at a store, the newest first. */
export const history = (store: string, count: number): Question => ({
  sql:
    "SELECT m.id, m.product_id, p.name, m.quantity, m.kind, m.reason, m.document, m.person, m.device, " +
    `m.occurred_at, m.note, m.reverses, ${UNDONE}, 0 ` +
    "FROM movement AS m JOIN product AS p ON p.id = m.product_id WHERE m.store_id = ? " +
    "ORDER BY m.occurred_at DESC, m.id DESC LIMIT ?",
  params: [store, count],
});

export const readEntry = (row: AppRow): Entry => ({
  id: text(row[0]),
  product: text(row[1]),
  productName: text(row[2]),
  quantity: whole(row[3]),
  kind: text(row[4]),
  reason: text(row[5]),
  document: text(row[6]),
  person: text(row[7]),
  device: text(row[8]),
  at: whole(row[9]),
  note: text(row[10]),
  reverses: row[11] === null ? null : text(row[11]),
  undone: whole(row[12]) === 1,
  balance: whole(row[13]),
});

/** Goods came in: all lines in one transaction. Returns the ids of the movements. */
export async function receive(
  store: string,
  lines: readonly Line[],
  about: { readonly document: string; readonly note: string },
): Promise<string[]> {
  const statements: Statement[] = [];
  const ids: string[] = [];
  for (const { product, quantity, movement: id } of lines) {
    ids.push(id);
    statements.push(await movement({ id, store, product, quantity, kind: "receive", ...about }));
  }
  await replica().write([...(await place(store)), ...statements]);
  return ids;
}

/** The difference that a person saw and confirmed, with its reason. Returns the movement's id. */
export async function adjust(
  store: string,
  product: string,
  by: number,
  about: { readonly reason: Reason; readonly note: string },
): Promise<string> {
  const id = replica().newId();
  const one = { id, store, product, quantity: by, kind: about.reason, document: "" };
  await replica().write([...(await place(store)), await movement({ ...one, ...about })]);
  return id;
}

/** Write the reversals of entries, all or none; what is undone on two devices at once is undone once. */
export async function undo(entries: readonly string[]): Promise<void> {
  await replica().write(await Promise.all(entries.map(reversal)));
}

async function reversal(entry: string): Promise<Statement> {
  const id = await reversalId(entry);
  const { person, device } = actor();
  return {
    sql:
      `INSERT INTO movement (${COLUMNS}) SELECT ?, product_id, location_id, store_id, -quantity, ` +
      "'reversal', '', document, ?, ?, ?, '', id FROM movement WHERE id = ? " +
      "AND NOT EXISTS (SELECT 1 FROM movement WHERE id = ?)",
    params: [id, person, device, replica().deviceNowUs(), entry, id],
  };
}

function actor(): { readonly person: string; readonly device: string } {
  const one = enrolled();
  return { person: one?.user ?? "", device: one?.device ?? "" };
}

/** Store and first location, where they are missing: two devices that open a store make the same. */
async function place(store: string): Promise<Statement[]> {
  const location = await firstLocationId(store);
  return [
    {
      sql: "INSERT INTO store (id) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM store WHERE id = ?1)",
      params: [store],
    },
    {
      sql:
        "INSERT INTO location (id, store_id) SELECT ?1, ?2 " +
        "WHERE NOT EXISTS (SELECT 1 FROM location WHERE id = ?1)",
      params: [location, store],
    },
  ];
}

async function movement(of: {
  readonly id: string;
  readonly store: string;
  readonly product: string;
  readonly quantity: number;
  readonly kind: Kind;
  readonly reason?: string;
  readonly document: string;
  readonly note: string;
}): Promise<Statement> {
  const { person, device } = actor();
  const location = await firstLocationId(of.store);
  const nowUs = replica().deviceNowUs();
  const reason = of.reason ?? "";
  return {
    sql: INSERT,
    params: [of.id, of.product, location, of.store, of.quantity, of.kind, reason, of.document, person,
      device, nowUs, of.note, null],
  }; // prettier-ignore
}
