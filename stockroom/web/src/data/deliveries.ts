/**
 * Deliveries: documents of what comes in, counted line by line, booked as one and undone as one.
 *
 * Knows: what a draft, a booking and an undo write. Must not know: how any of it is shown. The twin of
 * `stockroom/deliveries.py`. A draft is rows of the replica, durable with each tap and seen by other devices;
 * scans of two people add up, and a number that is typed is what somebody saw: the later one stands. The id
 * of a movement follows from its line, so that one draft is booked once, whoever books it.
 */

import { type Statement, UsageError } from "@holdfast/browser";

import { damagedId, deliveryLineId, keptListId, receivedId, reversalId } from "./ids.js";
import { ask, replica } from "./replica.js";
import {
  answers,
  asText,
  asWhole,
  column,
  columns,
  insert,
  insertMade,
  orNull,
  type Question,
  type Row,
  select,
} from "./rows.js";
import { QUANTITY_MAX } from "./schema.generated.js";
import { actor, movement, place, reversalOf } from "./stock.js";

export const DOCUMENT_LENGTH_MAX = 80;
const SAME_NOTE_DAYS = 30;
const DAY_US = 86_400_000_000;
const HERE = "(l.seen + l.scanned)";
const STANDS = "l.removed = 0";

const LINE = {
  ...columns(
    "delivery_line",
    ["id", "expected", "scanned", "seen", "damaged", "booked", "more"],
    "l",
  ),
  product: column("delivery_line", "product_id", "l"),
  here: asWhole(HERE),
  ...columns("product", ["name", "sku", "price", "currency", "unpriced", "archived"], "p"),
  category: orNull(asText("p.category_id")),
};
/** A line: `here` were counted, `damaged` of those; `booked` of them are in the ledger. */
export type Line = Row<typeof LINE>;

const inLines = (what: string): string =>
  `(SELECT coalesce(${what}, 0) FROM delivery_line AS l WHERE l.delivery_id = d.id AND ${STANDS})`;
const DELIVERY = {
  ...columns("delivery", ["id", "document", "status"], "d"),
  store: column("delivery", "store_id", "d"),
  supplierId: column("delivery", "supplier_id", "d"),
  supplier: asText("s.name"),
  startedBy: column("delivery", "started_by", "d"),
  startedAt: column("delivery", "started_at", "d"),
  bookedBy: column("delivery", "booked_by", "d"),
  bookedAt: column("delivery", "booked_at", "d"),
  undoneBy: column("delivery", "undone_by", "d"),
  undoneAt: column("delivery", "undone_at", "d"),
  lines: asWhole(inLines("count(*)")),
  units: asWhole(inLines(`sum(${HERE})`)),
  expected: asWhole(inLines("sum(l.expected)")),
  unsent: asWhole(
    "(SELECT count(*) FROM holdfast_pending AS w WHERE (w.tbl = 'delivery' AND w.key = d.id) " +
      "OR (w.tbl = 'delivery_line' AND w.key IN (SELECT l.id FROM delivery_line AS l WHERE l.delivery_id = d.id)) " +
      "OR (w.tbl = 'movement' AND w.key IN (SELECT m.id FROM movement AS m WHERE m.delivery_id = d.id)))",
  ),
};
/** A document; times in µs since 1970; `unsent`: rows of it that the server does not know of yet. */
export type Delivery = Row<typeof DELIVERY>;

const FROM = "FROM delivery AS d LEFT JOIN supplier AS s ON s.id = d.supplier_id";

export const one = (id: string): Question<Delivery> =>
  select(DELIVERY, `${FROM} WHERE d.id = ?`, [id]);

/** Drafts of a store, the newest first. */
export const drafts = (store: string): Question<Delivery> =>
  select(
    DELIVERY,
    `${FROM} WHERE d.store_id = ? AND d.status = 'draft' ORDER BY d.started_at DESC, d.id DESC`,
    [store],
  );

/** What was received and taken back at a store, the newest first. */
export const done = (store: string, count: number): Question<Delivery> =>
  select(
    DELIVERY,
    `${FROM} WHERE d.store_id = ? AND d.status IN ('booked', 'undone') ` +
      "ORDER BY coalesce(d.booked_at, d.started_at) DESC, d.id DESC LIMIT ?",
    [store, count],
  );

export const lines = (delivery: string): Question<Line> =>
  select(
    LINE,
    "FROM delivery_line AS l JOIN product AS p ON p.id = l.product_id " +
      `WHERE l.delivery_id = ? AND ${STANDS} ORDER BY l.added_at DESC, l.id`,
    [delivery],
  );

const SUPPLIER = columns("supplier", ["id", "name"], "s");
export const SUPPLIERS = select(SUPPLIER, "FROM supplier AS s ORDER BY s.name COLLATE NOCASE");

const BEFORE = {
  product: column("movement", "product_id", "m"),
  ...columns("movement", ["quantity", "person", "document"], "m"),
  at: column("movement", "occurred_at", "m"),
  delivery: column("movement", "delivery_id", "m"),
};
export type Before = Row<typeof BEFORE>;

/** The number of a note as it is compared: without case, blanks do not count. */
export const sameNote = (document: string): string => document.replace(/\s+/g, "").toLowerCase();

/** Query of what came in lately of the goods of a draft, with any note and in other deliveries. */
export const lately = (delivery: string): Question<Before> =>
  select(
    BEFORE,
    "FROM delivery AS d JOIN delivery_line AS l ON l.delivery_id = d.id AND l.removed = 0 " +
      "CROSS JOIN movement AS m ON m.product_id = l.product_id AND m.store_id = d.store_id " +
      "WHERE d.id = ?1 AND d.document <> '' AND m.kind = 'receive' AND m.document <> '' " +
      "AND coalesce(m.delivery_id, '') <> d.id " +
      `AND m.occurred_at > d.started_at - ${SAME_NOTE_DAYS * DAY_US} AND l.more = 0 ` +
      "AND NOT EXISTS (SELECT 1 FROM movement AS r WHERE r.product_id = m.product_id AND r.reverses = m.id) " +
      "ORDER BY m.occurred_at",
    [delivery],
  );

/** Begin a draft, with its first goods if there are any; its id. */
export async function start(store: string, first: string | null = null, by = 1): Promise<string> {
  const id = replica().newId();
  const counted = first === null ? [] : await counting(id, first, { by });
  await replica().write([...(await place(store)), begun(id, store), ...counted]);
  return id;
}

function begun(id: string, store: string, document = ""): Statement {
  const { person, device } = actor();
  return insert("delivery", {
    id,
    store_id: store,
    document: document.trim().slice(0, DOCUMENT_LENGTH_MAX),
    started_by: person,
    started_on: device,
    started_at: replica().deviceNowUs(),
  });
}

/** Write the note's number, or who sent it. */
export async function describe(
  delivery: string,
  about: { readonly document: string } | { readonly supplier: string | null },
): Promise<void> {
  const [name, value] =
    "document" in about
      ? ["document", about.document.trim().slice(0, DOCUMENT_LENGTH_MAX)]
      : ["supplier_id", about.supplier];
  await replica().write([
    {
      sql: `UPDATE delivery SET ${name} = ?1 WHERE id = ?2 AND status = 'draft' AND ${name} IS NOT ?1`,
      params: [value, delivery],
    },
  ]);
}

/** Words about a line; `by`: taps and scans, `to`: a number that was seen. */
export interface Counted {
  readonly by?: number;
  readonly to?: number;
  readonly damaged?: number;
  readonly expected?: number | null;
  readonly more?: boolean;
}

/** Id of a delivery that is a draft, or else of one's own; "" when there is none. */
async function draftOf(store: string, delivery: string): Promise<string> {
  const found = delivery === "" ? null : await find(delivery);
  return found?.status === "draft" ? delivery : await ownDraft(store);
}

/** Describe a draft, or one's own where it is none (any more): a new one where there is none. */
export async function say(
  store: string,
  delivery: string,
  about: Parameters<typeof describe>[1],
): Promise<void> {
  const id = await draftOf(store, delivery);
  await describe(id === "" ? await start(store) : id, about);
}

/** Count goods of a draft, or of a new one where there is none, or it was booked meanwhile; its id. */
export async function add(
  store: string,
  delivery: string,
  product: string,
  by: number,
): Promise<string> {
  const id = await draftOf(store, delivery);
  if (id === "") return await start(store, product, by);
  await count(id, product, { by });
  return id;
}

/**
 * Make a draft of a list that was kept elsewhere, once: a list that has become one before, whatever ended in
 * between, is left alone. `list`: its whole text.
 */
export async function startFrom(
  list: string,
  store: string,
  goods: readonly { readonly id: string; readonly quantity: number | null }[],
  document: string,
): Promise<void> {
  const id = await keptListId(list);
  if ((await ask(one(id)))[0] !== undefined) return;
  const statements = [...(await place(store)), begun(id, store, document)];
  for (const { id: product, quantity } of goods)
    statements.push(...(await counting(id, product, { by: Math.max(0, quantity ?? 0) })));
  await replica().write(statements);
}

/** Id of the newest draft that whoever is at work has begun; "" when there is none. */
export async function ownDraft(store: string): Promise<string> {
  const { person } = actor();
  return (await ask(drafts(store))).find(({ startedBy }) => startedBy === person)?.id ?? "";
}

/** Count goods of a draft; a line that was removed is there again. Durable once it is answered. */
export async function count(delivery: string, product: string, said: Counted): Promise<void> {
  await replica().write(await counting(delivery, product, said));
}

async function counting(delivery: string, product: string, said: Counted): Promise<Statement[]> {
  const id = await deliveryLineId(delivery, product);
  const statements = [
    insertMade(
      "delivery_line",
      { id: "?1", delivery_id: "d.id", store_id: "d.store_id", product_id: "?3", added_at: "?4" },
      "FROM delivery AS d WHERE d.id = ?2 AND d.status = 'draft' " +
        "AND NOT EXISTS (SELECT 1 FROM delivery_line WHERE id = ?1)",
      [id, delivery, product, replica().deviceNowUs()],
    ),
  ];
  const changes: [string, number | null][] = [];
  if (said.by !== undefined) changes.push(["scanned = scanned + ?1", said.by]);
  if (said.to !== undefined) changes.push(["seen = ?1 - scanned", said.to]);
  if (said.damaged !== undefined) changes.push(["damaged = ?1", said.damaged]);
  if (said.expected !== undefined) changes.push(["expected = ?1", said.expected]);
  if (said.more !== undefined) changes.push(["more = ?1", Number(said.more)]);
  for (const [change, value] of changes)
    statements.push({
      sql:
        `UPDATE delivery_line SET ${change}, removed = 0 WHERE id = ?2 ` +
        "AND (SELECT status FROM delivery AS d WHERE d.id = delivery_id) = 'draft'",
      params: [value, id],
    });
  return statements;
}

/** Take a line off the draft, with what was counted on it. */
export async function remove(line: string): Promise<void> {
  await replica().write([
    {
      sql: "UPDATE delivery_line SET removed = 1, seen = -scanned, damaged = 0 WHERE id = ?",
      params: [line],
    },
  ]);
}

/** Put a draft away; nothing brings it back. */
export async function drop(delivery: string): Promise<void> {
  await replica().write([
    {
      sql: "UPDATE delivery SET status = 'dropped' WHERE id = ? AND status = 'draft'",
      params: [delivery],
    },
  ]);
}

const OPEN_LINE = {
  ...columns("delivery_line", ["id", "damaged", "booked"], "l"),
  product: column("delivery_line", "product_id", "l"),
  here: asWhole(HERE),
};

/** Receive what is counted and not booked yet, in one transaction; how many units came in. `shown`: how many
 * there were when somebody said so. Throws `UsageError`: `not_a_draft`, `nothing_to_book`, `bad_quantity`,
 * `changed_meanwhile`. */
export async function book(delivery: string, shown: number | null): Promise<number> {
  return await replica().transaction(async (tx) => {
    const run = (sql: string, params: Parameters<typeof tx.execute>[1]) => tx.execute(sql, params);
    const [document] = await answers(one(delivery), run);
    if (document === undefined || !["draft", "booked"].includes(document.status))
      throw new UsageError("this delivery is over", "not_a_draft");
    const open = await answers(
      select(
        OPEN_LINE,
        `FROM delivery_line AS l WHERE l.delivery_id = ? AND ${STANDS} AND ${HERE} > l.booked ` +
          "ORDER BY l.added_at, l.id",
        [delivery],
      ),
      run,
    );
    if (open.length === 0) throw new UsageError("nothing was counted", "nothing_to_book");
    const units = open.reduce((sum, { here, booked }) => sum + here - booked, 0);
    if (shown !== null && shown !== units)
      throw new UsageError(`it is ${units} now, and was ${shown}`, "changed_meanwhile");
    const statements = await place(document.store);
    for (const line of open) statements.push(...(await booking(document, line)));
    if (document.status === "draft") {
      const { person, device } = actor();
      statements.push({
        sql: "UPDATE delivery SET status = 'booked', booked_by = ?, booked_on = ?, booked_at = ? WHERE id = ?",
        params: [person, device, replica().deviceNowUs(), delivery],
      });
    }
    for (const { sql, params } of statements) await tx.execute(sql, params);
    return units;
  });
}

async function booking(of: Delivery, line: Row<typeof OPEN_LINE>): Promise<Statement[]> {
  const quantity = line.here - line.booked;
  const damaged = line.booked === 0 ? line.damaged : 0;
  if (quantity > QUANTITY_MAX || damaged < 0 || damaged > quantity)
    throw new UsageError(`a line of ${quantity}, ${damaged} of them damaged`, "bad_quantity");
  const id = await receivedId(line.id, line.booked, quantity);
  const both = { store: of.store, product: line.product, document: of.document, delivery: of.id };
  const made = [await movement({ ...both, id, quantity, kind: "receive", note: "" })];
  if (damaged > 0) {
    const lost = { quantity: -damaged, kind: "damage", reason: "damaged on arrival" } as const;
    made.push(await movement({ ...both, ...lost, id: await damagedId(id), note: "" }));
  }
  made.push({
    sql: "UPDATE delivery_line SET booked = ? WHERE id = ?",
    params: [line.here, line.id],
  });
  return made;
}

/** Take a booked delivery back, all of it, in one transaction. Throws `UsageError`: `not_booked`. */
export async function undo(delivery: string): Promise<void> {
  const moved = select(
    { id: column("movement", "id", "m") },
    "FROM movement AS m WHERE m.delivery_id = ? AND m.kind <> 'reversal' ORDER BY m.occurred_at, m.id",
    [delivery],
  );
  const { person } = actor();
  await replica().transaction(async (tx) => {
    const run = (sql: string, params: Parameters<typeof tx.execute>[1]) => tx.execute(sql, params);
    const [document] = await answers(one(delivery), run);
    if (document?.status !== "booked") throw new UsageError("it is not booked", "not_booked");
    await tx.execute(
      "UPDATE delivery SET status = 'undone', undone_by = ?, undone_at = ? WHERE id = ?",
      [person, replica().deviceNowUs(), delivery],
    );
    for (const { id } of await answers(moved, run)) {
      const { sql, params } = await reversalOf(id, await reversalId(id));
      await tx.execute(sql, params);
    }
  });
}

/** The delivery as it is now; null when it is not there. */
export const find = async (id: string): Promise<Delivery | null> => (await ask(one(id)))[0] ?? null;
