/**
 * Questions about goods that were received twice, and what an answer does to the ledger.
 *
 * Knows: what is in question, and the answers. Must not know: how a question is found (the server does that)
 * or shown. The twin of `stockroom/questions.py`. What is in question is not on hand: its movement is
 * reversed in the transaction that asks. An answer leaves it so, or books it again; the first answer stands.
 */

import { type Statement, UsageError } from "@holdfast/browser";

import { againId, damagedId, reversalId } from "./ids.js";
import { replica } from "./replica.js";
import {
  answers,
  asText,
  asWhole,
  column,
  columns,
  insertMade,
  orNull,
  type Question,
  type Row,
  select,
} from "./rows.js";
import { leading } from "./sameGoods.js";
import { actor, reversalOf } from "./stock.js";

/** Kinds of such questions: one note as two deliveries; one draft booked with two numbers; booked, and taken
 * back by somebody else. */
export const TWICE = ["received_twice", "booked_twice", "taken_back"] as const;
export type Twice = (typeof TWICE)[number];
/** `same`: nothing more came in; `more`: they came in as well; `instead`: this number is the right one. */
export type Answer = "same" | "more" | "instead";

const REALLY_MORE = "really more";

const ASKED = {
  ...columns("question", ["id", "kind"], "q"),
  quantity: column("question", "in_question", "q"),
  product: column("movement", "product_id", "m"),
  delivery: column("movement", "delivery_id", "m"),
  ...columns("movement", ["document", "person", "device"], "m"),
  at: column("movement", "occurred_at", "m"),
  askedAt: column("question", "asked_at", "q"),
  name: column("product", "name", "p"),
  sku: column("product", "sku", "p"),
  category: orNull(asText("p.category_id")),
  first: asWhole("f.quantity"),
  firstPerson: asText("f.person"),
  firstDevice: asText("f.device"),
  firstAt: orNull(asWhole("f.occurred_at")),
  onHand: asWhole(
    "(SELECT sum(s.quantity) FROM stock_on_hand AS s WHERE s.product_id = " +
      `${leading("m.product_id")} AND s.store_id = q.store_id)`,
  ),
};
/** Goods in question: `quantity`, received `at` by `person`; `first` of them before, by `firstPerson`. */
export type Asked = Row<typeof ASKED>;

const FROM =
  "FROM question AS q JOIN movement AS m ON m.id = q.about_key JOIN product AS p ON p.id = m.product_id " +
  "LEFT JOIN movement AS f ON f.id = q.other_key " +
  `WHERE q.decided = '' AND q.kind IN (${TWICE.map((kind) => `'${kind}'`).join(", ")})`;

/** What is in question at a store, the oldest first. */
export const openAt = (store: string): Question<Asked> =>
  select(ASKED, `${FROM} AND q.store_id = ? ORDER BY q.asked_at, q.id`, [store]);

const ROW = {
  kind: column("question", "kind", "q"),
  about: column("question", "about_key", "q"),
  other: column("question", "other_key", "q"),
  decided: column("question", "decided", "q"),
};

/** Answer questions, all or none. Throws `UsageError`: `no_question`, `already_decided`. */
export async function decide(questions: readonly string[], answer: Answer): Promise<void> {
  const { person } = actor();
  await replica().transaction(async (tx) => {
    for (const id of questions) {
      const [asked] = await answers(
        select(ROW, "FROM question AS q WHERE q.id = ?", [id]),
        (sql, params) => tx.execute(sql, params),
      );
      if (asked === undefined) throw new UsageError("there is no such question", "no_question");
      if (asked.decided !== "") throw new UsageError("it is decided", "already_decided");
      await tx.execute(
        "UPDATE question SET decided = ?, decided_by = ?, decided_at = ? WHERE id = ?",
        [answer, person, replica().deviceNowUs(), id],
      );
      const statements: Statement[] = [];
      if (answer === "instead" && asked.kind === "booked_twice")
        for (const one of [asked.other, await damagedId(asked.other)])
          statements.push(await reversalOf(one, await reversalId(one)));
      if (answer !== "same")
        for (const one of [asked.about, await damagedId(asked.about)])
          statements.push(await again(one));
      for (const { sql, params } of statements) await tx.execute(sql, params);
    }
  });
}

/** Book a movement once more that was reversed because it was in question. */
async function again(movement: string): Promise<Statement> {
  const { person, device } = actor();
  const made = {
    id: "?1",
    product_id: "product_id",
    location_id: "location_id",
    store_id: "store_id",
    quantity: "quantity",
    kind: "kind",
    reason: "?2",
    document: "document",
    person: "?3",
    device: "?4",
    occurred_at: "?5",
    note: "note",
    delivery_id: "delivery_id",
  };
  return insertMade(
    "movement",
    made,
    "FROM movement WHERE id = ?6 AND NOT EXISTS (SELECT 1 FROM movement WHERE id = ?1)",
    [await againId(movement), REALLY_MORE, person, device, replica().deviceNowUs(), movement],
  );
}
