/**
 * Stock: movements written to the ledger, and what the ledger says is on hand.
 *
 * Knows: what a movement means. Must not know: how it is shown. The twin of `stockroom/stock.py`.
 * Each verb is one local transaction and none waits for a server. Stock may fall below zero: what
 * happened at the shelf is a fact; the screen warns about it.
 */

import type { Statement } from "@holdfast/browser";

import { firstLocationId, reversalId } from "./ids.js";
import { enrolled, replica } from "./replica.js";
import {
  asText,
  asTruth,
  asWhole,
  column,
  columns,
  insert,
  insertMade,
  type Question,
  type Row,
  select,
} from "./rows.js";
import { family } from "./sameGoods.js";
import { type KINDS } from "./schema.generated.js";

export type Kind = (typeof KINDS)[number];

/** Reasons for which a person corrects stock by hand, by the sign that they fit. */
export const REASONS = {
  fewer: ["damage", "missing", "theft", "use", "waste", "sale", "supplier_return", "correction"],
  more: ["found", "customer_return", "correction"],
} as const satisfies Record<string, readonly (Kind | "missing")[]>;
export type Reason = (typeof REASONS)[keyof typeof REASONS][number];

/** What a reason is in the ledger: one that has no kind of its own corrects what was thought. */
const kindFor = (reason: Reason): Kind => (reason === "missing" ? "correction" : reason);
/** What an entry is called: a correction by its reason, where that has a name. */
export const kindOf = ({ kind, reason }: Pick<Entry, "kind" | "reason">): string =>
  kind === "correction" && reason !== "" ? reason : kind;

const UNDONE = "EXISTS (SELECT 1 FROM movement AS r WHERE r.reverses = m.id)";
const MOVEMENT = {
  ...columns("movement", ["id", "quantity", "kind", "reason", "document", "person"], "m"),
  ...columns("movement", ["device", "note", "reverses"], "m"),
  /** What people call who did it; the column knows them by what they sign in with. */
  by: asText("coalesce((SELECT name FROM person WHERE login = m.person), m.person)"),
  product: column("movement", "product_id", "m"),
  at: column("movement", "occurred_at", "m"),
  undone: asTruth(UNDONE),
};
export const entryFields = (productName: string, balance: string) => ({
  ...MOVEMENT,
  productName: asText(productName),
  balance: asWhole(balance),
});
/** An entry of the ledger. `at`: µs since 1970, by the device's own clock until the server has taken
 * it and corrected; `balance`: after it, at its location. */
export type Entry = Row<ReturnType<typeof entryFields>>;

/** `movement`: the id of the movement it becomes, so that one list is received once. */
export interface Line {
  readonly product: string;
  readonly quantity: number;
  readonly movement: string;
}

/** Entries of a ledger that are shown at first, and with each wish for more. */
export const LEDGER_STEP = 50;

const AT_STORE = {
  store: asText("s.store_id"),
  name: asText("coalesce(nullif(t.name, ''), s.store_id)"),
  quantity: asWhole("sum(s.quantity)"),
};

/** What is on hand at each store this device knows. */
export const onHand = (product: string): Question<Row<typeof AT_STORE>> =>
  select(
    AT_STORE,
    "FROM stock_on_hand AS s LEFT JOIN store AS t ON t.id = s.store_id " +
      "WHERE s.product_id = ? GROUP BY s.store_id ORDER BY s.store_id",
    [product],
  );

const NAMED = {
  ...columns("product", ["id", "name", "sku", "price", "currency", "unpriced", "archived"], "p"),
  quantity: asWhole(
    "coalesce((SELECT sum(s.quantity) FROM stock_on_hand AS s " +
      "WHERE s.product_id = p.id AND s.store_id = ?2), 0)",
  ),
};

/** Some products, with what is on hand of them at a store; in no order. */
export const onHandOf = (ids: readonly string[], store: string): Question<Row<typeof NAMED>> =>
  select(NAMED, "FROM product AS p WHERE p.id IN (SELECT value FROM json_each(?1))", [
    JSON.stringify(ids),
    store,
  ]);

const UNSENT = {
  quantity: asWhole("coalesce(sum(m.quantity), 0)"),
  movements: asWhole("count(*)"),
};

/** Query of how much of it the server does not know of yet. */
export const unsent = (product: string, store: string): Question<Row<typeof UNSENT>> =>
  select(
    UNSENT,
    // From what waits to its rows, never the other way: a product may have thousands.
    "FROM holdfast_pending AS w CROSS JOIN movement AS m ON m.id = w.key " +
      "WHERE w.tbl = 'movement' AND m.product_id IN " +
      `${family("?1")} AND m.store_id = ?2`,
    [product, store],
  );

const MOVEMENT_ID = { id: column("movement", "id", "m") };

/** Which of these movements there are. */
export const written = (ids: readonly string[]): Question<Row<typeof MOVEMENT_ID>> =>
  select(MOVEMENT_ID, "FROM movement AS m WHERE m.id IN (SELECT value FROM json_each(?))", [
    JSON.stringify(ids),
  ]);

const LEDGER_ENTRY = entryFields(
  "''",
  "(SELECT s.quantity FROM stock_on_hand AS s WHERE s.product_id = ?1 " +
    "AND s.location_id = m.location_id AND s.store_id = m.store_id) " +
    "- coalesce(sum(m.quantity) OVER (PARTITION BY m.location_id ORDER BY m.occurred_at DESC, m.id DESC " +
    "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)",
);

/**
 * The newest entries first, each with the balance after it: what is on hand now less what came later,
 * so that a long ledger is not read from its beginning.
 */
export const ledger = (product: string, store: string, count: number): Question<Entry> =>
  select(
    LEDGER_ENTRY,
    `FROM (SELECT * FROM movement WHERE product_id IN ${family("?1")} AND store_id = ?2 ` +
      "ORDER BY occurred_at DESC, id DESC LIMIT ?3) AS m ORDER BY m.occurred_at DESC, m.id DESC",
    [product, store, count],
  );

const HISTORY_ENTRY = entryFields("p.name", "0");

/** Query of what happened at a store, the newest first. */
export const history = (store: string, count: number): Question<Entry> =>
  select(
    HISTORY_ENTRY,
    "FROM movement AS m JOIN product AS p ON p.id = m.product_id WHERE m.store_id = ? " +
      "ORDER BY m.occurred_at DESC, m.id DESC LIMIT ?",
    [store, count],
  );

/** Query of what somebody has entered lately at a store, the newest first; what was undone is not in it. */
export const enteredBy = (
  person: string,
  store: string,
  sinceUs: number,
  count: number,
): Question<Entry> =>
  select(
    HISTORY_ENTRY,
    "FROM movement AS m JOIN product AS p ON p.id = m.product_id " +
      "WHERE m.store_id = ?1 AND m.person = ?2 AND m.occurred_at >= ?3 AND m.kind <> 'reversal' " +
      `AND NOT ${UNDONE} ORDER BY m.occurred_at DESC, m.id DESC LIMIT ?4`,
    [store, person, sinceUs, count],
  );

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
  const one = { id, store, product, quantity: by, kind: kindFor(about.reason), document: "" };
  await replica().write([...(await place(store)), await movement({ ...one, ...about })]);
  return id;
}

/** Write the reversals of entries, all or none; what is undone on two devices at once is undone once. */
export async function undo(entries: readonly string[]): Promise<void> {
  await replica().write(await Promise.all(entries.map(reversal)));
}

const reversal = async (entry: string): Promise<Statement> =>
  await reversalOf(entry, await reversalId(entry));

/** Write the reversal of an entry, unless it is there. */
export async function reversalOf(entry: string, id: string): Promise<Statement> {
  const { person, device } = actor();
  const made = {
    id: "?1",
    product_id: "product_id",
    location_id: "location_id",
    store_id: "store_id",
    quantity: "-quantity",
    kind: "'reversal'",
    document: "document",
    person: "?2",
    device: "?3",
    occurred_at: "?4",
    reverses: "id",
    delivery_id: "delivery_id",
  };
  return insertMade(
    "movement",
    made,
    "FROM movement WHERE id = ?5 AND NOT EXISTS (SELECT 1 FROM movement WHERE id = ?1)",
    [id, person, device, replica().deviceNowUs(), entry],
  );
}

/** Person at work, and the device. */
export function actor(): { readonly person: string; readonly device: string } {
  const one = enrolled();
  return { person: one?.user ?? "", device: one?.device ?? "" };
}

/** Store and first location, where they are missing: two devices that open a store make the same. */
export async function place(store: string): Promise<Statement[]> {
  const location = await firstLocationId(store);
  return [
    insertMade("store", { id: "?1" }, "WHERE NOT EXISTS (SELECT 1 FROM store WHERE id = ?1)", [
      store,
    ]),
    insertMade(
      "location",
      { id: "?1", store_id: "?2" },
      "WHERE NOT EXISTS (SELECT 1 FROM location WHERE id = ?1)",
      [location, store],
    ),
  ];
}

/** Write a movement of today at a store's first location. */
export async function movement(of: {
  readonly id: string;
  readonly store: string;
  readonly product: string;
  readonly quantity: number;
  readonly kind: Kind;
  readonly reason?: string;
  readonly document: string;
  readonly note: string;
  readonly delivery?: string | null;
}): Promise<Statement> {
  const { person, device } = actor();
  const { id, store, product, quantity, kind, reason = "", document, note } = of;
  const row = { id, product_id: product, store_id: store, quantity, kind, reason, document, note };
  const location = await firstLocationId(store);
  return insert("movement", {
    ...row,
    location_id: location,
    person,
    device,
    occurred_at: replica().deviceNowUs(),
    delivery_id: of.delivery ?? null,
  });
}
