/** What the screens ask the database: the right answers, and no question that reads a table from end to end. */

import { execFileSync } from "node:child_process";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { ReplicaProgram } from "../../../../browser/src/replica/storage/program.js";
import { Replica } from "../../../../browser/src/replica/replica.js";
import { openMemory } from "../../../../browser/src/sqlite/open.js";
import * as deliveries from "../../src/data/deliveries.js";
import { lostSince, stockWorth } from "../../src/data/figures.js";
import { countStates, runningOut, stateOf } from "../../src/data/low.js";
import * as changes from "../../src/data/changes.js";
import {
  balances,
  daily,
  doneSince,
  ledgerOf,
  movements,
  people,
} from "../../src/data/movements.js";
import * as productPage from "../../src/data/productPage.js";
import * as outbox from "../../src/data/outbox.js";
import * as products from "../../src/data/products.js";
import {
  answers,
  asText,
  asTruth,
  asWhole,
  insert,
  type Question,
  select,
  tables,
} from "../../src/data/rows.js";
import * as questions from "../../src/data/questions.js";
import * as stock from "../../src/data/stock.js";
import {
  COLUMNS,
  countCategories,
  inOrder,
  linesOf,
  type Order,
} from "../../src/data/stockTable.js";
import { byThing } from "../../src/data/waiting.js";
import { meant, vocabulary } from "../../src/data/words.js";

const ROOT = path.resolve(import.meta.dirname, "../../../..");
const PYTHON = process.env["STOCKROOM_PYTHON"] ?? path.join(ROOT, ".venv/bin/python");
const uuid = (kind: number, number: number): string =>
  `00000000-0000-5000-800${kind}-${String(number).padStart(12, "0")}`;
const SHOWN = 200;
const ALL = {
  ...{ typed: "", person: "", sort: "" as "" | "in" | "sold" | "lost" | "other", product: "" },
  ...{ from: 0, until: 2 ** 53 - 1 },
};
const [HERE, BACK] = [uuid(1, 1), uuid(1, 2)];

let replica: Replica;

beforeAll(async () => {
  const text = execFileSync(PYTHON, ["-m", "holdfast.cli", "program", "stockroom.schema:schema"], {
    encoding: "utf8",
    maxBuffer: 2 ** 25,
  });
  const program = JSON.parse(text) as ReplicaProgram;
  replica = Replica.open({ opened: await openMemory(), program, transport: null });
  await replica.write([
    { sql: "INSERT INTO store (id, name) VALUES ('1', 'One'), ('2', 'Two')" },
    {
      sql: "INSERT INTO location (id, store_id) VALUES (?, '1'), (?, '1')",
      params: [HERE, BACK],
    },
  ]);
  const goods: [string, string, number, string][] = [
    ["MUG-1", "Enamel mug, cream", 0, "2000000000015"],
    ["MUG-2", "Enamel mug, blue", 1, "2000000000022"],
    ["JUG-1", "Jug for a mug tree", 0, "2000000001234"],
    ["TREE", "Mug tree", 0, "2000000000046"],
    ["X-MUG", "Crème brûlée set", 0, "MUG"],
    ["2000", "Kingfisher", 0, "2000000000053"],
  ];
  for (const [at, [sku, name, archived, code]] of goods.entries()) {
    await replica.write([
      {
        sql: "INSERT INTO product (id, sku, name, archived) VALUES (?, ?, ?, ?)",
        params: [uuid(2, at), sku, name, archived],
      },
      { sql: "INSERT INTO barcode (code, product_id) VALUES (?, ?)", params: [code, uuid(2, at)] },
    ]);
  }
  const many = SHOWN + 50;
  for (let at = 0; at < many; at += 1)
    await replica.write([
      {
        sql:
          "INSERT INTO movement (id, product_id, location_id, store_id, quantity, kind, occurred_at, reverses) " +
          "VALUES (?, ?, ?, '1', ?, ?, ?, ?)",
        params: [
          uuid(3, at),
          uuid(2, 0),
          at % 3 === 0 ? BACK : HERE,
          (at % 7) - 2,
          at % 50 === 49 ? "reversal" : "sale",
          // Some of them in the same moment, and not in the order of their ids.
          1_000_000 * (at % 90),
          at % 50 === 49 ? uuid(3, at - 1) : null,
        ],
      },
    ]);
});
afterAll(() => replica.close());

async function ask<T>(question: Question<T> | null): Promise<T[]> {
  if (question === null) throw new Error("there is no question");
  return await answers(question, (sql, params) => replica.query(sql, params));
}

const skus = async (question: Question<products.ProductLine> | null): Promise<string[]> =>
  (await ask(question)).map(({ sku }) => sku);

describe("search", () => {
  test.each([
    // A whole code, the beginning of a SKU, of a name, words of a name; archived ones last.
    ["mug", ["MUG-1", "TREE", "X-MUG", "JUG-1", "MUG-2"]],
    ["MUG", ["X-MUG", "MUG-1", "TREE", "JUG-1", "MUG-2"]],
    ["mug-2", ["MUG-2"]],
    ["tree mug", ["JUG-1", "TREE"]],
    ["creme", ["X-MUG"]],
    ["2000", ["2000", "MUG-1", "JUG-1", "TREE", "MUG-2"]],
    ["20000000000", ["MUG-1", "2000", "TREE", "MUG-2"]],
    ["2000000000022", ["MUG-2"]],
    ["ENAMEL c", ["MUG-1"]],
    ["namel", []],
    ['"', null],
  ])("%s", async (typed, found) => {
    const question = products.search("1", typed);
    if (found === null) expect(question).toBeNull();
    else expect(new Set(await skus(question))).toEqual(new Set(found));
    if (found !== null && !typed.startsWith("2000")) expect(await skus(question)).toEqual(found);
    if (typed === "2000") expect((await skus(question))[0]).toBe("2000");
  });

  test("by shelf, supplier and delivery note, names first", async () => {
    const [supplier, store, place] = [uuid(0, 1), "shelves", uuid(0, 9)];
    const [delivery, line] = [uuid(0, 2), uuid(0, 3)];
    await replica.write([
      insert("supplier", { id: supplier, name: "Weaver Works" }),
      insert("product", { id: uuid(0, 4), sku: "CUP-9", name: "Weaver bird cup" }),
      insert("product", {
        ...{ id: uuid(0, 5), sku: "CUP-8", name: "Fine cup", shelf: "Q7-1 top" },
        supplier_id: supplier,
      }),
      insert("store", { id: store }),
      insert("location", { id: place, store_id: store }),
      insert("delivery", { id: delivery, store_id: store, document: "LN 2041", started_at: 1 }),
      insert("delivery", {
        ...{ id: uuid(0, 7), store_id: store, document: "LN 99", started_at: 1 },
        status: "dropped",
      }),
      insert("delivery_line", {
        ...{ id: uuid(0, 8), delivery_id: uuid(0, 7), store_id: store },
        ...{ product_id: uuid(0, 5), added_at: 1 },
      }),
      insert("delivery_line", {
        ...{ id: line, delivery_id: delivery, store_id: store, product_id: uuid(0, 5) },
        added_at: 1,
      }),
    ]);
    const find = (typed: string): Promise<string[]> => skus(products.search(store, typed));
    expect(await find("weaver")).toEqual(["CUP-9", "CUP-8"]);
    expect(await find("cup q7")).toEqual(["CUP-8"]);
    expect(await find("q7 weav")).toEqual(["CUP-8"]);
    expect(await find("ln 20")).toEqual(["CUP-8"]);
    expect(await find("ln 99")).toEqual([]);
    await replica.write([
      insert("movement", {
        ...{ id: uuid(0, 6), product_id: uuid(0, 4), location_id: place, store_id: store },
        ...{ kind: "receive", document: "ln 2041", quantity: 1, occurred_at: 1 },
      }),
    ]);
    expect(await find("LN 2041")).toEqual(["CUP-8", "CUP-9"]);
  });

  test("what comes near, and the last digits of a barcode", async () => {
    const { rows: learned } = await replica.query("SELECT word FROM search_word");
    const known = vocabulary(learned.map(([word]) => String(word)));
    const near = async (typed: string): Promise<string[]> =>
      await skus(
        products.similar("1", meant(typed, known) ?? '""', /^\d+$/.test(typed) ? typed : ""),
      );
    expect(await near("enmael")).toEqual(["MUG-1", "MUG-2"]);
    expect(await near("brulee")).toEqual(["X-MUG"]);
    expect(await near("kingfihser")).toEqual(["2000"]);
    expect(await near("1234")).toEqual(["JUG-1"]);
    expect(await near("123")).toEqual([]);
    expect(await near("qqqqqq")).toEqual([]);
  });
});

test("the ledger's balances are those of adding it all up", async () => {
  const shown = await ask(stock.ledger(uuid(2, 0), "1", SHOWN));
  const added = await ask(
    select(
      {
        id: asText("m.id"),
        undone: asTruth("EXISTS (SELECT 1 FROM movement AS r WHERE r.reverses = m.id)"),
        balance: asWhole(
          "sum(m.quantity) OVER (PARTITION BY m.location_id ORDER BY m.occurred_at, m.id)",
        ),
      },
      "FROM movement AS m WHERE m.product_id = ? AND m.store_id = '1' " +
        `ORDER BY m.occurred_at DESC, m.id DESC LIMIT ${SHOWN}`,
      [uuid(2, 0)],
    ),
  );
  expect(shown.map(({ id, undone, balance }) => ({ id, undone, balance }))).toEqual(added);
  expect(shown.filter(({ undone }) => undone).length).toBeGreaterThan(2);
  expect(shown.length).toBe(SHOWN);
});

test("no screen's question reads products, barcodes or movements from end to end", async () => {
  const asked: Record<string, Question<unknown> | null> = {
    stretch: products.stretch("1", 0, 40),
    search: products.search("1", "mug"),
    one: products.one(uuid(2, 0)),
    barcodes: products.barcodes(uuid(2, 0)),
    ledger: stock.ledger(uuid(2, 0), "1", SHOWN),
    onHand: stock.onHand(uuid(2, 0)),
    unsent: stock.unsent(uuid(2, 0), "1"),
    history: stock.history("1", 100),
    onHandOf: stock.onHandOf([uuid(2, 0)], "1"),
    delivery: deliveries.one(uuid(4, 0)),
    drafts: deliveries.drafts("1"),
    done: deliveries.done("1", 50),
    lines: deliveries.lines(uuid(4, 0)),
    lately: deliveries.lately(uuid(4, 0)),
    asked: questions.openAt("1"),
    runningOut: runningOut("1", "", 5),
    countStates: countStates("1"),
    lostSince: lostSince("1", 0),
    mine: stock.enteredBy("ada", "1", 0, 5),
    ...Object.fromEntries(
      COLUMNS.flatMap((name) => [
        [`by ${name}`, inOrder("1", "", name, false)],
        [`category by ${name}`, inOrder("1", uuid(6, 1), name, true)],
      ]),
    ),
    linesOf: linesOf("1", [uuid(2, 0)]),
    countCategories: countCategories(),
    changes: changes.ofProduct(uuid(2, 0), 20),
    lost: ledgerOf(uuid(2, 0), "1", "lost", 50),
    movements: movements("1", ALL, 50),
    searched: movements("1", { ...ALL, typed: "mug", person: "ada", sort: "sold" }, 50),
    ofProduct: movements("1", { ...ALL, product: uuid(2, 0) }, 50),
    people: people("1"),
    daily: daily(uuid(2, 0), "1", 0, 0),
    doneSince: doneSince("1", 0),
    about: productPage.about(uuid(2, 0), "1"),
    states: outbox.STATES,
    waiting: outbox.waitingRows(300),
    ...Object.fromEntries(tables.map((table) => [table, outbox.unsentRows(table)])),
  };
  for (const [name, question] of Object.entries(asked)) {
    const plan = await replica.query(`EXPLAIN QUERY PLAN ${question?.sql}`, question?.params);
    const steps = plan.rows.map((row) => String(row[plan.columns.indexOf("detail")]));
    expect(steps.length, name).toBeGreaterThan(0);
    // `SCAN f VIRTUAL TABLE` is the full-text index answering; `SCAN m` of a few rows that were chosen is fine.
    const scans = steps.filter((step) => {
      const name_ = /^SCAN (product|barcode|movement|stock_on_hand|own|[pbmrs])\b/.exec(step)?.[1];
      return name_ !== undefined && !steps.includes(`CO-ROUTINE ${name_}`);
    });
    expect(scans, name).toEqual([]);
    // For each entry one look, not one walk through the ledger.
    if (name === "ledger" || name === "history")
      expect(steps.some((step) => step.includes("INDEX movement_reverses"))).toBe(true);
    const automatic = steps.filter((step) => /^(?!SEARCH c ).*AUTOMATIC/.test(step)); // `c`: within the engine's views
    expect(automatic, name).toEqual([]);
  }
});

test("what happened is found by goods, note, person, kind and day, alone and together", async () => {
  const [store, place] = ["7", uuid(1, 7)];
  const written: [number, string, string, string, string, number][] = [
    [1, "receive", "ada", "DN-77", "", 10],
    [2, "sale", "ben", "", "", -2],
    [3, "correction", "ben", "", "missing", -1],
    [4, "correction", "ada", "", "", 1],
    [12, "receive", "ben", "DN-78", "", 5],
  ];
  await replica.write([
    insert("store", { id: store }),
    insert("location", { id: place, store_id: store }),
    ...written.map(([at, kind, person, document, reason, quantity]) =>
      insert("movement", {
        ...{ id: uuid(5, at), product_id: uuid(2, at === 12 ? 3 : 0), location_id: place },
        ...{ store_id: store, kind, person, document, reason, quantity, occurred_at: at },
      }),
    ),
  ]);
  const find = async (wanted: Partial<typeof ALL>): Promise<number[]> =>
    (await ask(movements(store, { ...ALL, ...wanted }, 50))).map(({ at }) => at);
  expect(await find({})).toEqual([12, 4, 3, 2, 1]);
  expect(await find({ person: "ben" })).toEqual([12, 3, 2]);
  expect(await find({ sort: "in" })).toEqual([12, 1]);
  expect(await find({ sort: "lost" })).toEqual([3]);
  expect(await find({ sort: "other" })).toEqual([4]);
  expect(await find({ typed: "dn-7" })).toEqual([12, 1]);
  expect(await find({ typed: "DN-77" })).toEqual([1]);
  expect(await find({ typed: "tree" })).toEqual([12]);
  expect(await find({ typed: "enamel", person: "ben", until: 3 })).toEqual([2]);
  expect(await find({ product: uuid(2, 0), from: 2, until: 4 })).toEqual([3, 2]);
  expect(await find({ typed: "%" })).toEqual([]);
  expect((await ask(people(store))).map(({ login }) => login)).toEqual(
    expect.arrayContaining(["ada", "ben"]),
  );
  // Whoever has signed with their name before they signed with their login is one person.
  await replica.write([
    insert("person", { login: "ada", name: "Ada Marsh" }),
    insert("movement", {
      ...{ id: uuid(5, 20), product_id: uuid(2, 5), location_id: place, store_id: store },
      ...{ kind: "sale", person: "Ada Marsh", quantity: -1, occurred_at: 1 },
    }),
  ]);
  const named = (await ask(people(store))).map(({ name }) => name);
  expect(named.filter((name) => name === "Ada Marsh")).toHaveLength(1);
  expect(await find({ person: "ada", until: 2 })).toEqual([1, 1]);
  expect(
    (await ask(doneSince(store, 2))).map(({ person, in: came, sold, lost }) => [
      person,
      came,
      sold,
      lost,
    ]),
  ).toEqual([
    ["ben", 5, 2, 1],
    ["ada", 0, 0, 0],
  ]);
  // One sort of a product, each with the balance that all of them lead to.
  const lost = await ask(ledgerOf(uuid(2, 0), store, "lost", 50));
  expect(lost.map(({ at, balance }) => [at, balance])).toEqual([[3, 7]]);
});

test("stock and losses are worth what goods cost, by currency, and what has no cost is counted apart", async () => {
  const [store, place] = ["worth", uuid(0, 20)];
  const goods = (at: number): string => uuid(0, 20 + at);
  const moved: [number, number, string, number, string | null][] = [
    [1, 10, "receive", 1, null],
    [1, -2, "damage", 5, null],
    [1, -3, "theft", 6, null],
    [1, 3, "reversal", 7, uuid(0, 42)],
    [2, 4, "receive", 1, null],
    [3, 7, "receive", 1, null],
    [3, -1, "waste", 5, null],
    [4, -5, "sale", 1, null],
  ];
  await replica.write([
    insert("store", { id: store }),
    insert("location", { id: place, store_id: store }),
    ...[1, 2, 3, 4].map((at) => insert("product", { id: goods(at), sku: `W-${at}`, name: "W" })),
    insert("product_cost", { product_id: goods(1), cost: 250, currency: "EUR" }),
    insert("product_cost", { product_id: goods(2), cost: 100, currency: "CHF" }),
    insert("product_cost", { product_id: goods(4), cost: 900, currency: "EUR" }),
    ...moved.map(([of, quantity, kind, at, reverses], number) =>
      insert("movement", {
        ...{ id: uuid(0, 40 + number), product_id: goods(of), location_id: place },
        ...{ store_id: store, kind, quantity, occurred_at: at, reverses },
      }),
    ),
  ]);
  const of = (rows: readonly { currency: string; worth: number; units: number }[]): unknown =>
    rows.map(({ currency, worth, units }) => [currency, worth, units]);
  expect(of(await ask(stockWorth(store)))).toEqual([
    ["EUR", 2000, 8],
    ["CHF", 400, 4],
    ["", 0, 6],
  ]);
  // What was taken back was not lost.
  expect(of(await ask(lostSince(store, 2)))).toEqual([
    ["EUR", 500, 2],
    ["", 0, 1],
  ]);
  expect(await ask(lostSince(store, 6))).toEqual([]);
});

test("stock in the order of each column, of one category, and the lines of what is in sight", async () => {
  const [store, place, cups] = ["6", uuid(1, 6), uuid(6, 1)];
  const goods = (at: number): string => uuid(6, 10 + at);
  // Name, SKU, shelf, price (null: none yet), on hand, low at, moved at.
  const cases: [string, string, string, number | null, number, number | null, number][] = [
    ["apple cup", "O-3", "", 300, 5, 9, 30],
    ["Berry cup", "o-1", "A2", null, -2, null, 10],
    ["cherry cup", "O-2", "a1", 100, 0, 3, 0],
  ];
  await replica.write([
    insert("store", { id: store }),
    insert("location", { id: place, store_id: store }),
    insert("category", { id: cups, name: "Cups" }),
    ...cases.flatMap(([name, sku, shelf, price, quantity, lowAt, at], row) => [
      insert("product", {
        ...{ id: goods(row), name, sku, shelf, price: price ?? 0, unpriced: price === null },
        category_id: cups,
      }),
      ...(lowAt === null
        ? []
        : [insert("reorder_rule", { store_id: store, product_id: goods(row), reorder_at: lowAt })]),
      ...(quantity === 0
        ? []
        : [
            insert("movement", {
              ...{ id: uuid(6, 20 + row), product_id: goods(row), location_id: place },
              ...{ store_id: store, quantity, kind: "opening", occurred_at: at },
            }),
          ]),
    ]),
  ]);
  const order = async (name: Order, down = false): Promise<number[]> =>
    (await ask(inOrder(store, cups, name, down))).map(({ id }) => Number(id.slice(-2)) - 10);
  expect(await order("name")).toEqual([0, 1, 2]);
  expect(await order("name", true)).toEqual([2, 1, 0]);
  expect(await order("sku")).toEqual([1, 2, 0]);
  expect(await order("shelf")).toEqual([2, 1, 0]);
  expect(await order("onHand")).toEqual([1, 2, 0]);
  expect(await order("onHand", true)).toEqual([0, 2, 1]);
  // What has none of it comes last, whichever way round.
  expect(await order("price")).toEqual([2, 0, 1]);
  expect(await order("price", true)).toEqual([0, 2, 1]);
  expect(await order("lowAt", true)).toEqual([0, 2, 1]);
  expect(await order("movedAt")).toEqual([1, 0, 2]);
  expect((await ask(inOrder(store, "", "name", false))).length).toBeGreaterThan(3);
  const lines = await ask(linesOf(store, [goods(2), goods(0)]));
  expect(
    lines.map(({ name, categoryName, onHand, movedAt }) => [name, categoryName, onHand, movedAt]),
  ).toEqual([
    ["cherry cup", "Cups", null, null],
    ["apple cup", "Cups", 5, 30],
  ]);
  expect((await ask(countCategories())).filter(({ id }) => id === cups)).toMatchObject([
    { count: 3 },
  ]);
});

test("what was on hand day by day is what is there now less what came later", () => {
  const moved = [
    { day: 8, quantity: 5 },
    { day: 10, quantity: -2 },
  ];
  expect(balances(7, 10, 4, moved)).toEqual([4, 9, 9, 7]);
  expect(balances(0, 10, 2, [])).toEqual([0, 0]);
});

test("a change is taken back by its words alone, and not where nothing would change", () => {
  const now = { name: "Cup", shelf: "A", description: "", notes: "" };
  const change = { field: "name", lost: "", before: "Mug", after: "Cup" };
  expect(changes.restores(change, now)).toBe("Mug");
  expect(changes.restores({ ...change, lost: "dropped", before: "Cup", after: "Mine" }, now)).toBe(
    "Mine",
  );
  expect(changes.restores({ ...change, before: "Cup" }, now)).toBeNull();
  expect(changes.restores({ ...change, before: "" }, now)).toBeNull();
  expect(changes.restores({ ...change, field: "shelf", before: "" }, now)).toBe("");
  expect(changes.restores({ ...change, field: "sku" }, now)).toBeNull();
});

test("what runs out is told by the rules of its store, and below zero without one", async () => {
  const store = "9";
  const [place, goods] = [uuid(1, 9), (at: number): string => uuid(7, at)];
  // On hand, low at (null: no rule), archived; and what is to be said of it.
  const cases: [number, number | null, boolean, string | null][] = [
    [3, 12, false, "low"],
    [12, 12, false, "low"],
    [13, 12, false, null],
    [0, 0, false, "out"],
    [0, 5, false, "out"],
    [0, null, false, null],
    [-2, null, false, "below"],
    [-9, 4, false, "below"],
    [-5, 4, true, null],
  ];
  await replica.write([
    insert("store", { id: store }),
    insert("location", { id: place, store_id: store }),
    ...cases.flatMap(([onHand, lowAt, archived], at) => [
      insert("product", { id: goods(at), sku: `LOW-${at}`, name: `Goods ${at}`, archived }),
      ...(lowAt === null
        ? []
        : [insert("reorder_rule", { store_id: store, product_id: goods(at), reorder_at: lowAt })]),
      ...(onHand === 0
        ? []
        : [
            insert("movement", {
              id: uuid(8, at),
              product_id: goods(at),
              location_id: place,
              store_id: store,
              quantity: onHand,
              kind: "opening",
              occurred_at: at,
            }),
          ]),
    ]),
  ]);
  const told = (await ask(runningOut(store, "", 100))).map(({ id, onHand, lowAt }) => [
    id,
    stateOf(onHand, lowAt),
  ]);
  const wanted = cases.flatMap(([, , , state], at) => (state === null ? [] : [[goods(at), state]]));
  expect(new Map(told as [string, string][])).toEqual(new Map(wanted as [string, string][]));
  // The gravest first, and one state alone.
  expect(told.map(([, state]) => state)).toEqual(["below", "below", "out", "out", "low", "low"]);
  expect((await ask(runningOut(store, "out", 100))).map(({ id }) => id)).toEqual([
    goods(3),
    goods(4),
  ]);
  expect((await ask(runningOut(store, "", 1))).map(({ id }) => id)).toEqual([goods(7)]);
  const counts = Object.fromEntries(
    (await ask(countStates(store))).map(({ state, count }) => [state, count]),
  );
  expect(counts).toEqual({ below: 2, out: 2, low: 2 });
  expect(await ask(runningOut("2", "", 100))).toEqual([]);
});

const thingsThatWait = async (): Promise<number> => (await ask(outbox.THINGS))[0]?.count ?? 0;

test("what waits is counted by what was done, not by its rows, and a delivery is one thing", async () => {
  const rows = await ask(outbox.waitingRows(null));
  const { pending, sent } = await replica.status();
  expect(byThing(rows)).toHaveLength(pending + sent);
  expect(rows.length).toBeGreaterThan(pending + sent);
  const before = await thingsThatWait();
  expect(before).toBe(pending + sent);
  const delivery = uuid(8, 1);
  await replica.write([insert("delivery", { id: delivery, store_id: "1", started_at: 5 })]);
  const line = { id: uuid(8, 2), delivery_id: delivery, store_id: "1", product_id: uuid(2, 1) };
  await replica.write([insert("delivery_line", { ...line, added_at: 5 })]);
  for (const scanned of [1, 2])
    await replica.write([
      { sql: "UPDATE delivery_line SET scanned = ? WHERE id = ?", params: [scanned, line.id] },
    ]);
  expect((await replica.status()).pending).toBe(pending + 4);
  expect(await thingsThatWait()).toBe(before + 1);
  expect(byThing(await ask(outbox.waitingRows(null)))).toHaveLength(before + 1);
});

test("what waits is of every table, whole and by name, whatever its key is", async () => {
  const id = uuid(9, 1);
  const odd = "a/b %2F";
  await replica.write([
    insert("store", { id: odd }),
    insert("location", { id, store_id: odd, name: "Cellar" }),
    insert("supplier", { id, name: "Mill" }),
    insert("category", { id, name: "Mugs" }),
    insert("product", { id, sku: "NEW", name: "New mug", cost: null }),
    insert("barcode", { code: odd, product_id: id }),
    insert("reorder_rule", { store_id: odd, product_id: id, reorder_at: 3 }),
    insert("movement", {
      id,
      product_id: id,
      location_id: id,
      store_id: odd,
      quantity: -2,
      kind: "sale",
      occurred_at: 5,
    }),
    insert("question", {
      id,
      store_id: odd,
      kind: "count",
      about_table: "product",
      about_key: id,
      asked_at: 5,
    }),
    insert("employee", { id, name: "Ada" }),
    insert("shop", { id: "shop", name: "Lantern", time_zone: odd }),
    insert("person", { login: odd, name: "Ada Marsh" }),
    insert("delivery", { id, store_id: odd, started_at: 5 }),
    insert("delivery_line", {
      id,
      delivery_id: id,
      store_id: odd,
      product_id: id,
      added_at: 5,
    }),
    insert("product_change", { id, product_id: id, field: "name", changed_at: 5 }),
    insert("product_cost", { product_id: id, cost: null }),
    insert("permission", { role: odd, deed: "sell" }),
    insert("works_at", { store_id: odd, login: odd }),
    insert("device", { id: odd, name: "Till" }),
    insert("pin", { store_id: odd, login: odd }),
  ]);
  const kept = { archived: false, cost: null, quantity: -2, reorder_at: 3, occurred_at: 5 };
  for (const table of tables) {
    const found = await ask(outbox.unsentRows(table));
    const mine = found.filter((row) => Object.values(row).some((one) => one === id || one === odd));
    expect(mine, table).toHaveLength(1);
    for (const [name, value] of Object.entries(kept))
      if (name in (mine[0] ?? {})) expect(mine[0], table).toHaveProperty(name, value);
  }
  const lines = await ask(outbox.waitingRows(20));
  const newest = lines.filter(({ tx }) => tx === lines[0]?.tx);
  expect(new Set(newest.map(({ table }) => table))).toEqual(new Set(tables));
  const named = Object.fromEntries(newest.map(({ table, name }) => [table, name]));
  expect(named).toEqual({
    store: "", location: "Cellar", supplier: "Mill", category: "Mugs", product: "New mug",
    barcode: "New mug", reorder_rule: "New mug", movement: "New mug", question: "", employee: "Ada",
    delivery: "", delivery_line: "New mug", product_change: "", shop: "Lantern", person: "Ada Marsh",
    product_cost: "New mug", permission: "", works_at: "", device: "Till", pin: "",
  }); // prettier-ignore
  const states = await ask(outbox.STATES);
  const marks = states.filter(({ table, key }) => table === "product" && key === id);
  // Its own, and of its cost, its barcode, its rule, its movement and its line of a delivery.
  expect(marks.map(({ state }) => state)).toEqual(Array(6).fill("pending"));
});
