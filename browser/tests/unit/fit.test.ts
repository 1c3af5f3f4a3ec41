/** Nothing is committed that cannot be sent, and what is refused leaves nothing behind. */

import { afterEach, expect, test } from "vitest";

import { HoldfastError } from "../../src/core/errors.js";
import { JSON_NESTING_MAX, MIB, TRANSACTION_CHANGES_MAX } from "../../src/core/limits.js";
import { check } from "../../src/core/values.js";
import type { AppRow } from "../../src/replica/appValues.js";
import { Replica } from "../../src/replica/replica.js";
import { openMemory } from "../../src/sqlite/open.js";
import { compiled } from "../support/program.js";

const PROGRAM = compiled({
  name: "fit",
  generation: 1,
  tables: [
    {
      name: "thing",
      key: ["id"],
      scopes: ["store/{store}"],
      columns: [
        { name: "id" },
        { name: "store", default: "s" },
        { name: "name", nullable: true },
        { name: "more", nullable: true },
        { name: "most", nullable: true },
        { name: "qty", type: "integer", merge: "counter", default: "0" },
        { name: "facts", type: "json", nullable: true },
        { name: "link", type: "uuid", nullable: true },
      ],
    },
  ],
});
const NESTED = "[".repeat(JSON_NESTING_MAX + 1) + "]".repeat(JSON_NESTING_MAX + 1);

let open: Replica | null = null;
afterEach(() => open?.close());

async function made(): Promise<Replica> {
  const opened = await openMemory();
  open = Replica.open({ opened, program: PROGRAM, transport: null });
  await write(open, "INSERT INTO thing (id, qty) VALUES ('a', 5)");
  return open;
}

async function write(replica: Replica, sql: string, params: AppRow = []): Promise<void> {
  await replica.transaction(async (tx) => {
    await tx.execute(sql, params);
  });
}

async function stands(replica: Replica): Promise<unknown> {
  const things = "SELECT count(*), sum(length(CAST(name AS BLOB))), sum(qty) FROM thing";
  const noted = "SELECT count(*) FROM holdfast_log";
  const sealed = "SELECT count(*), max(number) FROM holdfast_tx";
  const read = async (sql: string): Promise<unknown> => (await replica.query(sql)).rows;
  return [await read(things), await read(noted), await read(sealed)];
}

const BYTES_MAX = 4 * MIB;
type Case = readonly [what: string, sql: string, params: AppRow, code: string, column?: string];
const REFUSED: readonly Case[] = [
  ["Latin-1", "UPDATE thing SET name = CAST(x'e9' AS TEXT)", [], "bad_value", "name"],
  ["a surrogate", "UPDATE thing SET name = CAST(x'eda080' AS TEXT)", [], "bad_value", "name"],
  ["a bad key", "INSERT INTO thing (id) VALUES (CAST(x'ff' AS TEXT))", [], "bad_value", "id"],
  ["deep JSON", "UPDATE thing SET facts = ?", [NESTED], "bad_value", "facts"],
  ["a leap", `UPDATE thing SET qty = ${-(2n ** 63n)}`, [], "bad_value", "qty"],
  ["no scope", "UPDATE thing SET store = ''", [], "bad_value", ""],
  ["NUL", "UPDATE thing SET name = ?", ["a\0b"], "check"],
  ["a uuid and NUL", "UPDATE thing SET link = ?", [`${crypto.randomUUID()}\0`], "check"],
  ["a lone surrogate", "UPDATE thing SET name = ?", ["\ud800"], "bad_value"],
  ["no number", "UPDATE thing SET qty = ?", [Number.NaN], "bad_value"],
  [
    "a large row",
    "UPDATE thing SET name = ?1, more = ?1, most = ?1",
    ["n".repeat(3 * MIB)],
    "quota_row_bytes",
  ],
  [
    "a large transaction",
    "INSERT INTO thing (id, name) VALUES ('b', ?1), ('c', ?1), ('d', ?1), ('e', ?1)",
    ["n".repeat(BYTES_MAX)],
    "too_large",
  ],
  [
    "many changes",
    "WITH n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < " +
      `${TRANSACTION_CHANGES_MAX + 1}) INSERT INTO thing (id) SELECT 'n' || v FROM n`,
    [],
    "too_many_changes",
  ],
];

test.each(REFUSED)("%s is refused at the commit", async (...refused) => {
  const [, sql, params, code, column] = refused as unknown as Case;
  const replica = await made();
  const before = await stands(replica);
  const error = await write(replica, sql, params).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(HoldfastError);
  const { code: found, detail } = error as HoldfastError;
  expect(found).toBe(code);
  if (column !== undefined) {
    expect(detail["table"]).toBe("thing");
    expect(detail["column"]).toBe(column);
    expect(detail["key"]).toBeTruthy();
  }
  expect(await stands(replica)).toEqual(before);
  await write(replica, "UPDATE thing SET name = 'é'");
  expect((await replica.query("SELECT id, name FROM thing")).rows).toEqual([["a", "é"]]);
});

test("JSON is looked at as in Python: brackets in strings do not nest", () => {
  const quoted = `["${"[".repeat(600)}", "\\"${"{".repeat(600)}"]`;
  const flat = `[${"[],".repeat(600)}1]`;
  for (const good of [quoted, flat, NESTED.slice(1, -1)]) expect(check("json", good)).toBe(good);
  expect(() => check("json", NESTED)).toThrow("nested");
});
