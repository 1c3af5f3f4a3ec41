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

/** The name of a column where the table has it. */
const ownOr = (table: Table, name: string): string =>
  name in TABLES[table].columns ? `own.${name}` : "NULL";

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
};
/** A local transaction that waits, one of its rows a line; `product` and `name`: of what it is about. */
export type Waiting = Row<typeof WAITING>;

const LINES = [
  ...tables.map((table) => {
    const product = productOf(table);
    return (
      `SELECT w.tx, w.tbl, w.key, w.kind AS done, w.state, ${ownOr(table, "name")} AS name, ` +
      `${ownOr(table, "quantity")} AS quantity, ${ownOr(table, "kind")} AS kind, ` +
      `${product === null ? "NULL" : `own.${product}`} AS product ` +
      `FROM w LEFT JOIN ${table} AS own ON ${isKey(table, "own", "w.key")} WHERE w.tbl = '${table}'`
    );
  }),
  "SELECT tx, tbl, key, kind, state, NULL, NULL, NULL, NULL FROM w " +
    `WHERE tbl NOT IN (${tables.map((table) => `'${table}'`).join(", ")})`,
];

/** The newest transactions first; `count`: at most so many rows, or null for all. */
export const waitingRows = (count: number | null): Question<Waiting> =>
  select(
    WAITING,
    `FROM (${waiting(count)}${LINES.join(" UNION ALL ")}) AS r ` +
      "LEFT JOIN product AS p ON p.id = r.product ORDER BY r.tx DESC",
  );

/** The rows of a table that wait, whole; those that were removed are not there any more. */
export const unsentRows = <T extends Table>(table: T): Question<object> =>
  select(
    columns(table, Object.keys(TABLES[table].columns) as Column<T>[], "own"),
    `FROM (SELECT DISTINCT key FROM holdfast_pending WHERE tbl = '${table}') AS w ` +
      `CROSS JOIN ${table} AS own ON ${isKey(table, "own", "w.key")}`,
  );
