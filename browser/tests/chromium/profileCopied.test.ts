/**
 * The profile of a browser is copied on the disk, and both go on: each as a replica of its own, and what
 * both had is done once.
 *
 * Checks I7.
 */

import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect, test } from "vitest";

import { Chromium } from "../support/chromium.js";
import { open, settled, SITE } from "../support/page.js";
import { PythonDevice, Server } from "../support/processes.js";

const ADD = "INSERT INTO stock (sku, name, on_hand) VALUES ('apple', 'Apple', 10)";
const TAKE = "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'apple'";
const COUNT = "SELECT on_hand FROM stock WHERE sku = 'apple'";

let server: Server;
let browsers: Chromium[];

beforeEach(async () => {
  const [started, browser] = await Promise.all([Server.start(SITE), Chromium.start()]);
  server = started;
  browsers = [browser];
});

afterEach(async () => {
  await Promise.all(browsers.map((one) => one.close()));
  await server.close();
});

async function tab(browser: Chromium): Promise<Page> {
  const page = await browser.page(`${server.url}/site/`);
  await open(page);
  return page;
}

const write = (page: Page, sql: string): Promise<unknown> =>
  page.evaluate((one) => replica.write([{ sql: one }]), sql);

const ask = (page: Page, sql: string): Promise<unknown> =>
  page.evaluate(async (one) => (await replica.query(one)).rows, sql);

test("both have all, and nothing twice", async () => {
  const [first] = browsers as [Chromium];
  let page = await tab(first);
  await write(page, ADD);
  await settled(page);
  await page.evaluate(() => replica.pause());
  await write(page, TAKE); // in both profiles, and not sent
  await first.kill();
  const second = first.copy();
  browsers.push(second);
  await Promise.all([first.start(), second.start()]);
  page = await tab(first);
  const other = await tab(second);
  for (const one of [page, other]) {
    await write(one, TAKE);
    await one.evaluate(() => replica.resume());
    await settled(one);
  }
  await page.evaluate(() => replica.sync());
  expect(await ask(page, COUNT)).toEqual([[7]]);
  expect(await ask(other, COUNT)).toEqual([[7]]);
  const python = new PythonDevice(server);
  await python.sync();
  expect(await python.query(COUNT)).toEqual([[7]]);
  await python.close();
  const [happened] = await other.evaluate(() => replica.history());
  expect(happened).toMatchObject({ kind: "copied", resent: 2, alreadyThere: 1, toInbox: 0 });
  expect(await page.evaluate(() => replica.history())).toEqual([]);
  for (const one of [page, other])
    expect(await one.evaluate(() => replica.verify())).toMatchObject({ ok: true });
});
