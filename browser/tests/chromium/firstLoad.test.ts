/**
 * A first load as a file in Chromium: killed at any point, damaged, or without room, it is whole or not there.
 *
 * Checks I10, I16, I32, I33, I35.
 */

import type { Page } from "playwright-core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { Chromium, until } from "../support/chromium.js";
import { FileProxy } from "../support/fileProxy.js";
import { open, settled, SITE } from "../support/page.js";
import { PythonDevice, Server } from "../support/processes.js";
import { BEFORE, COUNT_ALL, fill, FILE_ROWS, ROWS, SEVENTH } from "../support/stock.js";

declare global {
  var stages: string[];
}

let server: Server;
let proxy: FileProxy;
let browser: Chromium;

beforeEach(async () => {
  [server, browser] = await Promise.all([
    Server.start(SITE, { fileRows: FILE_ROWS }),
    Chromium.start(),
  ]);
  proxy = await FileProxy.before(server);
});

afterEach(async () => {
  await Promise.all([browser.close(), proxy.close()]);
  await server.close();
});

/** A device that has written something before it has ever met its server. */
async function met(): Promise<Page> {
  // The program comes first; then, still without a row, work of its own.
  proxy.cutExchanges = true;
  const page = await tab();
  await page.evaluate((sql) => replica.write([{ sql }]), BEFORE);
  proxy.cutExchanges = false;
  return page;
}

async function tab(): Promise<Page> {
  const page = await browser.page(`${proxy.url}/site/`);
  await open(page);
  await page.evaluate(async () => {
    globalThis.stages = [];
    await replica.watchStatus(({ loading }) => {
      if (loading !== null && loading.stage !== stages.at(-1)) stages.push(loading.stage);
    });
  });
  return page;
}

function query(page: Page, sql: string): Promise<unknown> {
  return page.evaluate(async (asked) => (await replica.query(asked)).rows, sql);
}

async function come(condition: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`it never came: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Wait until so many bytes of a file are on the device: the proxy is ahead of it. */
async function arrived(page: Page, bytes: number): Promise<void> {
  await until(
    page,
    async (least) => {
      const root = await navigator.storage.getDirectory();
      const home = await root.getDirectoryHandle(".holdfast-shop");
      for await (const [name, file] of (await home.getDirectoryHandle("files")).entries())
        if (name.endsWith(".part"))
          return (await (file as FileSystemFileHandle).getFile()).size >= least;
      return false;
    },
    bytes,
  );
}

/** Everything is there once, what was written before is sent, and nothing is left of the file. */
async function isWhole(page: Page, rows = ROWS): Promise<void> {
  await settled(page);
  expect(await query(page, `${COUNT_ALL} UNION ALL ${SEVENTH}`)).toEqual([[rows + 1], [12]]);
  expect(await page.evaluate(async () => (await replica.verify()).ok)).toBe(true);
  expect(await page.evaluate(async () => (await replica.status()).mismatches)).toBe(0);
  expect(await left(page)).toEqual({ files: [], pool: 6 });
  const python = new PythonDevice(server);
  try {
    await python.sync();
    expect(await python.query(`${COUNT_ALL} UNION ALL ${SEVENTH}`)).toEqual([[rows + 1], [12]]);
  } finally {
    await python.close();
  }
}

/** What is on the device beside the replica: files, and how many the pool has. */
function left(page: Page): Promise<unknown> {
  return page.evaluate(async () => {
    const names = async (...path: string[]): Promise<string[]> => {
      let folder = await navigator.storage.getDirectory();
      for (const name of path) folder = await folder.getDirectoryHandle(name);
      const found: string[] = [];
      for await (const name of folder.keys()) found.push(name);
      return found;
    };
    return {
      files: await names(".holdfast-shop", "files"),
      pool: (await names(".holdfast-shop", ".opaque")).length,
    };
  });
}

function firstByte(range: string | undefined): number {
  return Number(/bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
}

describe("a first load as a file, in Chromium", () => {
  test("is told in stages, and all tabs have it", async () => {
    server.shell(fill());
    const [one, two] = [await met(), await tab()];
    await isWhole(two);
    expect(await one.evaluate(() => [...new Set(stages)])).toEqual(
      expect.arrayContaining(["downloading", "importing"]),
    );
    expect(proxy.ranges).toEqual([""]);
    expect(await query(one, COUNT_ALL)).toEqual([[ROWS + 1]]);
    // Capture is what it was.
    await one.evaluate(() =>
      replica.write([{ sql: "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'p000007'" }]),
    );
    await settled(one);
    expect(await query(two, SEVENTH)).toEqual([[13]]);
  });

  test("goes on behind what was there when the browser was killed, and when its page is loaded anew", async () => {
    server.shell(fill());
    proxy.holdAfter = 100_000;
    const first = await met();
    await come(() => proxy.held.files === 1);
    await arrived(first, 100_000);
    await browser.kill();
    proxy.release();
    proxy.holdAfter = 90_000;
    await browser.start();
    const page = await tab();
    await come(() => proxy.held.files === 2);
    await arrived(page, 190_000);
    expect(await query(page, COUNT_ALL)).toEqual([[2]]);
    expect(await page.evaluate(async () => (await replica.status()).loading?.stage)).toBe(
      "downloading",
    );
    await page.reload();
    proxy.release();
    await open(page);
    await isWhole(page);
    const starts = proxy.ranges.map(firstByte);
    expect(starts).toEqual([0, 100_000, 190_000]);
  });

  test("goes on in another tab when the leader's is killed", async () => {
    server.shell(fill());
    proxy.holdAfter = 100_000;
    const leading = await met();
    const other = await tab();
    await come(() => proxy.held.files === 1);
    await arrived(other, 100_000);
    const session = await browser.context.newCDPSession(leading);
    void session.send("Page.crash").catch(() => undefined); // it answers nothing any more
    await come(() => proxy.ranges.length === 2);
    proxy.release();
    await isWhole(other);
    expect(proxy.ranges.map(firstByte)).toEqual([0, 100_000]);
  });

  test("is not fetched again when the browser is killed between file and import", async () => {
    server.shell(fill());
    proxy.holdAfter = 100_000;
    await met();
    await come(() => proxy.held.files === 1);
    proxy.release();
    proxy.holdExchanges = true;
    await come(() => proxy.held.exchanges === 1);
    await browser.kill();
    proxy.release();
    await browser.start();
    await isWhole(await tab());
    expect(proxy.ranges).toEqual([""]);
  });

  test("is there whole or not at all when the browser is killed while it imports", async () => {
    const many = 30_000;
    server.shell(fill(many));
    await until(await met(), () => Promise.resolve(stages.includes("importing")), null);
    await browser.kill();
    await browser.start();
    proxy.holdExchanges = true;
    const page = await tab();
    const [[rows] = []] = (await query(page, COUNT_ALL)) as number[][];
    expect([2, many + 1]).toContain(rows);
    proxy.release();
    await isWhole(page, many);
  }, 120_000);

  test("that is damaged twice is refused, and the rows come instead", async () => {
    server.shell(fill());
    proxy.fates = [{ damagedAt: 50_000 }, { damagedAt: 60_000 }];
    const page = await met();
    await isWhole(page);
    expect(proxy.ranges).toEqual(["", ""]);
    expect(await page.evaluate(() => stages)).not.toContain("importing");
  });

  test("that is no database is refused, and the rows come instead", async () => {
    server.shell(fill());
    proxy.forged = Buffer.alloc(200_000, "no database");
    const page = await met();
    await isWhole(page);
    expect(proxy.ranges).toEqual([""]);
    expect(await page.evaluate(() => stages)).not.toContain("importing");
  });

  test("for which there is no room says so, and comes when there is", async () => {
    server.shell(fill());
    proxy.holdExchanges = true;
    const page = await met();
    const session = await browser.context.newCDPSession(page);
    const origin = new URL(proxy.url).origin;
    const { usage } = await session.send("Storage.getUsageAndQuota", { origin });
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: usage + 300_000 });
    proxy.release();
    await until(page, async () => (await replica.status()).errorCode === "disk_full", null);
    // Whether it was foreseen or met on the way: local work has the space.
    await until(
      page,
      async () => {
        const root = await navigator.storage.getDirectory();
        const home = await root.getDirectoryHandle(".holdfast-shop");
        for await (const name of (await home.getDirectoryHandle("files")).keys())
          return name === "";
        return true;
      },
      null,
    );
    expect(await query(page, COUNT_ALL)).toEqual([[2]]);
    await session.send("Storage.overrideQuotaForOrigin", { origin });
    await page.evaluate(() => replica.syncNow());
    await isWhole(page);
  });
});
