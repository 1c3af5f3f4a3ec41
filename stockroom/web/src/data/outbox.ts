/**
 * What this device has made and the server has not confirmed, of every synced table.
 *
 * Knows: the engine's views. Must not know: how any of it is worded, or one table from another: what is
 * asked here is made of the schema, so that a new table is in it by itself.
 */

import {
  asText,
  asWhole,
  type Column,
  columns,
  type Field,
  isKey,
  orNull,
  type Question,
  referring,
  type Row,
  select,
  type Table,
  tables,
} from "./rows.js";
import { TABLES } from "./schema.generated.js";

/** The column that names a product; of a product its own key. */
const productOf = (table: Table): string | null =>
  table === "product" ? "id" : referring(table, "product");

/** What waits, gathered once for a look at each table: the view goes through all of them. */
const waiting = (count: number | null): string =>
  "WITH w AS MATERIALIZED (SELECT tx, tbl, key, kind, state FROM holdfast_pending" +
  `${count === null ? "" : ` ORDER BY tx DESC LIMIT ${count}`}) `;

const BADGED = tables
  .filter((table) => table !== "product" && productOf(table) !== null)
  .map(
    (table) =>
      `SELECT 'product', own.${productOf(table)}, w.state FROM w CROSS JOIN ${table} AS own ` +
      `ON ${isKey(table, "own", "w.key")} WHERE w.tbl = '${table}'`,
  );

const STATE = { table: asText("b.tbl"), key: asText("b.key"), state: asText("b.state") };
export type State = Row<typeof STATE>;
/** The states of rows; a product carries those of the rows that name it. */
export const STATES = select(
  STATE,
  `FROM (${waiting(null)}${[
    "SELECT tbl, key, state FROM w",
    ...BADGED,
    "SELECT tbl, key, 'attention' FROM holdfast_inbox",
  ].join(" UNION ALL ")}) AS b`,
);

/** Of a row that waits, called `w`: the delivery that it is part of; NULL where there is none. */
const OF_DELIVERY =
  "CASE w.tbl WHEN 'delivery' THEN w.key " +
  "WHEN 'delivery_line' THEN (SELECT delivery_id FROM delivery_line WHERE id = w.key) " +
  "WHEN 'movement' THEN (SELECT delivery_id FROM movement WHERE id = w.key) END";

/** Number of things that wait as a person counts them: all that was done to a delivery is one. */
export const THINGS = select(
  { count: asWhole("count(DISTINCT t.thing)") },
  `FROM (SELECT coalesce(max(${OF_DELIVERY}), w.tx) AS thing FROM holdfast_pending AS w ` +
    "WHERE w.state <> 'held' GROUP BY w.tx) AS t",
);

/** Operation on a row, as the engine tells it. */
export type Operation = "insert" | "update" | "delete";

const WAITING = {
  tx: asWhole("r.tx"),
  table: asText("r.tbl"),
  key: asText("r.key"),
  op: asText("r.done") as Field<Operation>,
  state: asText("r.state"),
  name: asText("coalesce(r.name, p.name, '')"),
  quantity: orNull(asWhole("r.quantity")),
  kind: asText("coalesce(r.kind, '')"),
  product: asText("coalesce(p.id, '')"),
  delivery: asText("coalesce(r.delivery, '')"),
};
/** A local transaction that waits, one of its rows a line; `product` and `name`: of what it is about; `delivery`:
 * that it is part of. */
export type Waiting = Row<typeof WAITING>;

/** Each table under a name of its own, beside what waits of it. */
const OWN = tables.map((table, at) => ({ table, alias: `t${at}` }));
const JOINED = OWN.map(
  ({ table, alias }) =>
    `LEFT JOIN ${table} AS ${alias} ON w.tbl = '${table}' AND ${isKey(table, alias, "w.key")}`,
).join(" ");

/** A column of the row itself, of whichever table it is; NULL where that has none. */
function ofRow(columnOf: (table: Table) => string | null): string {
  const found = OWN.flatMap(({ table, alias }) => {
    const name = columnOf(table);
    return name === null ? [] : [`WHEN '${table}' THEN ${alias}.${name}`];
  });
  return `CASE w.tbl ${found.join(" ")} END`;
}

const where = (name: string) => (table: Table) => (name in TABLES[table].columns ? name : null);
// What waits is looked at once, beside all tables: a look for each of them would make SQLite's work grow with
// their square, and end where it says "nested too deep".
const LINES =
  `SELECT w.tx, w.tbl, w.key, w.kind AS done, w.state, ${ofRow(where("name"))} AS name, ` +
  `${ofRow(where("quantity"))} AS quantity, ${ofRow(where("kind"))} AS kind, ` +
  `${ofRow(productOf)} AS product, ${OF_DELIVERY} AS delivery FROM w ${JOINED}`;

/** The newest transactions first; `count`: at most so many rows, or null for all. */
export const waitingRows = (count: number | null): Question<Waiting> =>
  select(
    WAITING,
    `FROM (${waiting(count)}${LINES}) AS r ` +
      "LEFT JOIN product AS p ON p.id = r.product ORDER BY r.tx DESC",
  );

/** The rows of a table that wait, whole; those that were removed are not there any more. */
export const unsentRows = <T extends Table>(table: T): Question<object> =>
  select(
    columns(table, Object.keys(TABLES[table].columns) as Column<T>[], "own"),
    `FROM (SELECT DISTINCT key FROM holdfast_pending WHERE tbl = '${table}') AS w ` +
      `CROSS JOIN ${table} AS own ON ${isKey(table, "own", "w.key")}`,
  );
