/** Two versions of an app in one browser: the newer one migrates what is stored, and the older reads on. */

import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect, test } from "vitest";

import type { ReplicaProgram } from "../../src/index.js";
import { Chromium, until } from "../support/chromium.js";
import { declared, grown, next, shop, withTable } from "../support/grown.js";
import { SITE } from "../support/page.js";
import { Server } from "../support/processes.js";
import { compiled } from "../support/program.js";

declare global {
  // Functions in a page have names there that they have not here.
  var outdated: number;
  var finish: () => void;
  var ended: Promise<unknown>;
}

const ADD = "INSERT INTO stock (sku, name, on_hand) VALUES ('apple', 'Apple', 10)";
const TAKE = "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'apple'";
const ALL = "SELECT on_hand, vat FROM stock WHERE sku = 'apple'";
const COUNT = "SELECT on_hand FROM stock WHERE sku = 'apple'";

let server: Server;
let browser: Chromium;
const [before, after] = [compiled(shop), compiled(grown)];

beforeEach(async () => {
  server = await Server.start(SITE);
  browser = await Chromium.start();
});

afterEach(async () => {
  await browser.close();
  await server.close();
});

/** A tab of a version of the app, which only works here. */
async function tab(program: ReplicaProgram): Promise<Page> {
  const page = await browser.page(`${server.url}/site/`);
  await open(page, program);
  return page;
}

async function open(page: Page, program: ReplicaProgram): Promise<void> {
  await page.evaluate(async (given) => {
    globalThis.outdated = 0;
    const outdated = (): void => void (globalThis.outdated += 1);
    globalThis.replica = await holdfast.openReplica({ name: "shop", program: given, outdated });
  }, program);
}

async function write(page: Page, ...sql: string[]): Promise<void> {
  await page.evaluate((all) => replica.write(all.map((one) => ({ sql: one }))), sql);
}

/** The code of the error that a write ends with; null: it was done. */
function refusal(page: Page, sql: string): Promise<string | null> {
  return page.evaluate(async (asked) => {
    const failed = (error: unknown): string => (error as { code: string }).code;
    return await replica.write([{ sql: asked }]).then(() => null, failed);
  }, sql);
}

function query(page: Page, sql: string): Promise<unknown> {
  return page.evaluate(async (asked) => (await replica.query(asked)).rows, sql);
}

const told = (page: Page): Promise<void> =>
  until(page, () => Promise.resolve(globalThis.outdated === 1), null);

test("a newer tab has the old leader's place once its transactions are over; old tabs read on", async () => {
  const [one, two] = [await tab(before), await tab(before)];
  await write(two, ADD);
  // Somebody is in the midst of a sale in the tab that leads.
  await one.evaluate(async (sql) => {
    await new Promise<void>((begun) => {
      globalThis.ended = replica.transaction(async (tx) => {
        await tx.execute(sql);
        begun();
        let isOver = false;
        globalThis.finish = () => void (isOver = true);
        for (; !isOver; await new Promise((look) => setTimeout(look, 50)))
          await tx.execute("SELECT 1");
      });
    });
  }, TAKE);
  const page = await browser.page(`${server.url}/site/`);
  const opening = open(page, after);
  // The worker that waits has asked, and nothing of the sale is lost by it.
  await page.waitForFunction(async () => {
    const { pending = [] } = await navigator.locks.query();
    return pending.some(({ name }) => name === "holdfast:shop");
  });
  const later = write(one, TAKE); // begun after it: by whoever leads then
  await one.evaluate(() => finish());
  await one.evaluate(() => ended);
  await opening;
  const isOld = await later.then(
    () => false,
    (error: unknown) => String(error).includes("older version"),
  );
  expect(await query(page, ALL)).toEqual([[isOld ? 9 : 8, 20]]);
  await Promise.all([told(one), told(two)]);
  expect(await query(two, COUNT)).toEqual([[isOld ? 9 : 8]]);
  expect(await refusal(two, TAKE)).toBe("replica_newer");
  await write(page, "UPDATE stock SET vat = 7", "INSERT INTO tag VALUES ('fresh')");
  expect(await query(one, ALL)).toEqual([[isOld ? 9 : 8, 7]]);
  // The newer tab is gone: a worker of the old version runs the program that is stored.
  await page.close();
  expect(await query(one, "SELECT id FROM tag")).toEqual([["fresh"]]);
  expect(await refusal(one, TAKE)).toBe("replica_newer");
  await one.reload();
  await open(one, after);
  expect(await refusal(one, TAKE)).toBe(null);
  expect(await one.evaluate(() => outdated)).toBe(0);
});

test("killed in the midst of declared steps, the file is what it was; then it migrates", async () => {
  // Long enough to be met in the middle: the fill of each row counts.
  const counting =
    "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) SELECT count(*) FROM n)";
  const slow = compiled(
    next(declared, {
      generation: declared.generation ?? 2,
      tables: withTable(declared, "stock", ({ columns }) => ({
        columns: [...columns, { name: "slow", type: "integer", fill: counting, nullable: true }],
      })),
    }),
  );
  let page = await tab(before);
  await write(
    page,
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) " +
      "INSERT INTO stock (sku, name) SELECT 'sku ' || i, 'Name ' || i FROM n",
  );
  await page.evaluate(() => replica.close());
  await page.evaluate(() => {
    globalThis.outdated = 0;
    new BroadcastChannel("holdfast:shop").onmessage = ({ data }: MessageEvent) => {
      if ((data as { type: string }).type === "electing") globalThis.outdated += 1;
    };
  });
  // The first sign of life is that it begins; the next ones come from the midst of the work.
  void page
    .evaluate(async (given) => holdfast.openReplica({ name: "shop", program: given }), slow)
    .catch(() => undefined);
  await page.waitForFunction(() => globalThis.outdated >= 2);
  await browser.kill();
  await browser.start();
  page = await tab(before);
  const COLUMNS = "SELECT count(*) FROM pragma_table_info('stock') WHERE name = 'slow'";
  expect(await query(page, COLUMNS)).toEqual([[0]]);
  expect(await query(page, "SELECT count(*) FROM stock WHERE name LIKE 'Name %'")).toEqual([[60]]);
  expect(await page.evaluate(async () => (await replica.status()).pending)).toBe(1);
  await page.evaluate(() => replica.close());
  await open(page, compiled(declared));
  expect(await query(page, "SELECT DISTINCT vat FROM stock")).toEqual([[20]]);
  expect(await query(page, "SELECT count(*) FROM stock WHERE title LIKE 'Name %'")).toEqual([[60]]);
  expect(await page.evaluate(async () => (await replica.status()).pending)).toBe(1);
});
