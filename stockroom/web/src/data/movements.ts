/**
 * What happened to stock, looked through: by person, kind, document, product and date, and day by day.
 *
 * Knows: how the ledger is read by its indexes. Must not know: how movements come to be (`stock.ts`) or are shown.
 */

import type { AppValue } from "@holdfast/browser";

import { family } from "./sameGoods.js";
import { asText, asWhole, type Question, type Row, select } from "./rows.js";
import { type Entry, entryFields, ledger } from "./stock.js";
import { beginnings } from "./words.js";

export const DAY_US = 86_400_000_000;

/** Kinds that people look for together. */
const IN = "m.kind IN ('receive', 'customer_return', 'transfer_in', 'opening', 'found')";
export const LOST =
  "(m.kind IN ('damage', 'theft', 'waste') OR (m.kind = 'correction' AND m.reason = 'missing'))";
const WANTED = {
  in: IN,
  sold: "m.kind = 'sale'",
  lost: LOST,
  other: `NOT (${IN} OR m.kind = 'sale' OR ${LOST})`,
} as const;
export type Sort = keyof typeof WANTED;
export const SORTS = Object.keys(WANTED) as readonly Sort[];

const BALANCE =
  "(SELECT s.quantity FROM stock_on_hand AS s WHERE s.product_id = ?1 " +
  "AND s.location_id = m.location_id AND s.store_id = m.store_id) " +
  "- coalesce(sum(m.quantity) OVER (PARTITION BY m.location_id ORDER BY m.occurred_at DESC, m.id DESC " +
  "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)";

/**
 * The newest entries of a product at a store first, of one sort where one is named, each with the balance after it. For
 * the balance of few among many, all of the product's have to be looked at.
 */
export const ledgerOf = (
  product: string,
  store: string,
  sort: Sort | "",
  count: number,
): Question<Entry> =>
  sort === ""
    ? ledger(product, store, count)
    : select(
        entryFields("''", "m.balance"),
        `FROM (SELECT m.*, ${BALANCE} AS balance FROM movement AS m ` +
          `WHERE m.product_id IN ${family("?1")} AND m.store_id = ?2) AS m ` +
          `WHERE ${WANTED[sort]} ORDER BY m.occurred_at DESC, m.id DESC LIMIT ?3`,
        [product, store, count],
      );

/** Filters of a search; an empty text means all. Times in µs since 1970. */
export interface Wanted {
  readonly typed: string;
  readonly person: string;
  readonly sort: Sort | "";
  readonly product: string;
  readonly from: number;
  readonly until: number;
}

/** Products that a search means, at most. */
const MEANT_MAX = 200;
/** Matches nothing: a phrase that no name has. */
const NOTHING = '""';

/** Movements that are found by a word: those of products that are called so, and those of a note that begins so. */
const found = (store: string, words: string, typed: string): string =>
  "(SELECT o.id FROM (SELECT w.product_id AS wanted FROM product_search AS f " +
  `JOIN product_words AS w ON w.n = f.rowid WHERE f.words MATCH ${words} LIMIT ${MEANT_MAX}) AS g ` +
  `CROSS JOIN movement AS o ON o.product_id = g.wanted AND o.store_id = ${store} ` +
  "UNION SELECT o.id FROM movement AS o WHERE o.document <> '' " +
  `AND o.document >= ${typed} COLLATE NOCASE AND o.document < ${typed} || char(1114111) COLLATE NOCASE ` +
  `AND o.store_id = ${store})`;

/** What somebody signs with: their login, and the name that they had on devices before logins were written. */
const signedBy = (login: string): string =>
  `(SELECT ${login} UNION ALL SELECT q.name FROM person AS q WHERE q.login = ${login} ` +
  "AND NOT EXISTS (SELECT 1 FROM person AS r WHERE r.login = q.name))";

const ENTRY = entryFields("p.name", "0");

/** Query of what happened at a store, the newest first. */
export function movements(store: string, wanted: Wanted, count: number): Question<Entry> {
  const params: AppValue[] = [];
  const given = (value: AppValue): string => `?${params.push(value)}`;
  const [at, typed] = [given(store), wanted.typed.trim()];
  const source =
    typed !== ""
      ? `${found(at, given(beginnings(typed) || NOTHING), given(typed))} AS w CROSS JOIN movement AS m ON m.id = w.id`
      : `movement AS m INDEXED BY ${wanted.product === "" ? "movement_history" : "movement_product"}`;
  const only = [
    `m.store_id = ${at}`,
    `m.occurred_at >= ${given(wanted.from)} AND m.occurred_at < ${given(wanted.until)}`,
    ...(wanted.person === "" ? [] : [`m.person IN ${signedBy(given(wanted.person))}`]),
    ...(wanted.product === "" ? [] : [`m.product_id IN ${family(given(wanted.product))}`]),
    ...(wanted.sort === "" ? [] : [WANTED[wanted.sort]]),
  ];
  return select(
    ENTRY,
    `FROM ${source} CROSS JOIN product AS p ON p.id = m.product_id WHERE ${only.join(" AND ")} ` +
      `ORDER BY m.occurred_at DESC, m.id DESC LIMIT ${given(count)}`,
    params,
  );
}

const PERSON = { login: asText("w.login"), name: asText("coalesce(p.name, w.login)") };
const LATELY = 2_000;

/** Whoever has a name in the shop, or has moved stock lately. */
export const people = (store: string): Question<Row<typeof PERSON>> =>
  select(
    PERSON,
    "FROM (SELECT person AS login FROM (SELECT person FROM movement INDEXED BY movement_history " +
      `WHERE store_id = ? ORDER BY occurred_at DESC LIMIT ${LATELY}) WHERE person <> '' ` +
      "UNION SELECT login FROM person) AS w LEFT JOIN person AS p ON p.login = w.login " +
      // Whoever has signed with a name has not two.
      "WHERE p.login IS NOT NULL OR NOT EXISTS (SELECT 1 FROM person AS q WHERE q.name = w.login) " +
      "ORDER BY 2 COLLATE NOCASE",
    [store],
  );

const DAY = { day: asWhole("w.day"), quantity: asWhole("w.quantity") };

/** How much came or went on each day at a store; days of the reader's clock since 1970, `zoneUs` ahead of UTC. */
export const daily = (
  product: string,
  store: string,
  sinceUs: number,
  zoneUs: number,
): Question<Row<typeof DAY>> =>
  select(
    DAY,
    `FROM (SELECT (occurred_at + ?4) / ${DAY_US} AS day, sum(quantity) AS quantity FROM movement ` +
      `WHERE product_id IN ${family("?1")} AND store_id = ?2 AND occurred_at >= ?3 GROUP BY 1) ` +
      "AS w ORDER BY w.day",
    [product, store, sinceUs, zoneUs],
  );

/** Balances at the end of each of the last days, the oldest first: what is on hand now less what came later. */
export function balances(
  now: number,
  today: number,
  days: number,
  moved: readonly Row<typeof DAY>[],
): number[] {
  const by = new Map(moved.map(({ day, quantity }) => [day, quantity]));
  const found = [now];
  for (let day = today; found.length < days; day -= 1)
    found.push((found.at(-1) ?? 0) - (by.get(day) ?? 0));
  return found.reverse();
}

const DONE = {
  person: asText("w.person"),
  name: asText("coalesce(p.name, w.person)"),
  in: asWhole("w.came"),
  sold: asWhole("w.sold"),
  lost: asWhole("w.lost"),
  entries: asWhole("w.entries"),
  last: asWhole("w.last"),
};
/** Work of one person since: units that came in, were sold and lost, and when they did something last. */
export type Done = Row<typeof DONE>;

/** What people have done at a store since a moment, whoever was last at work first; what was undone does not count. */
export const doneSince = (store: string, sinceUs: number): Question<Done> =>
  select(
    DONE,
    "FROM (SELECT m.person AS person, count(*) AS entries, max(m.occurred_at) AS last, " +
      `sum(CASE WHEN ${IN} THEN m.quantity ELSE 0 END) AS came, ` +
      "sum(CASE WHEN m.kind = 'sale' THEN -m.quantity ELSE 0 END) AS sold, " +
      `sum(CASE WHEN ${LOST} THEN -m.quantity ELSE 0 END) AS lost ` +
      "FROM movement AS m INDEXED BY movement_history WHERE m.store_id = ?1 AND m.occurred_at >= ?2 " +
      "AND m.kind <> 'reversal' AND NOT EXISTS (SELECT 1 FROM movement AS r WHERE r.reverses = m.id) " +
      "GROUP BY m.person) AS w LEFT JOIN person AS p ON p.login = w.person ORDER BY w.last DESC",
    [store, sinceUs],
  );
