/**
 * A damaged file in a real browser: what it holds is offered, then it is made anew and goes on.
 *
 * Checks I34.
 */

import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect, test } from "vitest";

import { Chromium } from "../support/chromium.js";
import { shop } from "../support/grown.js";
import { SITE } from "../support/page.js";
import { Server } from "../support/processes.js";
import { compiled } from "../support/program.js";

let server: Server;
let browser: Chromium;
const program = compiled(shop);

beforeEach(async () => {
  server = await Server.start(SITE);
  browser = await Chromium.start();
});

afterEach(async () => {
  await browser.close();
  await server.close();
});

/** Open it; the error that this ends with. */
function open(page: Page, salvage: boolean): Promise<{ code: string; work: string } | null> {
  return page.evaluate(
    async ([given, may]) => {
      try {
        globalThis.replica = await holdfast.openReplica({
          name: "shop",
          program: given,
          salvage: may,
        });
        return null;
      } catch (error) {
        const { code, detail } = error as { code: string; detail: { work: string } };
        return { code, work: detail.work };
      }
    },
    [program, salvage] as const,
  );
}

/** Overwrite the beginning of the replica's file, behind the pool's own header of 4,096 bytes. */
function damage(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const home = await root.getDirectoryHandle(".holdfast-shop");
    const pool = await home.getDirectoryHandle(".opaque");
    let damaged = 0;
    for await (const file of pool.values()) {
      const bytes = await (await (file as FileSystemFileHandle).getFile()).arrayBuffer();
      if (!new TextDecoder().decode(bytes.slice(4096, 4112)).startsWith("SQLite format 3"))
        continue;
      const stream = await (file as FileSystemFileHandle).createWritable({
        keepExistingData: true,
      });
      await stream.write({ type: "write", position: 4096, data: new Uint8Array(100) });
      await stream.close();
      damaged += 1;
    }
    return damaged;
  });
}

test("a damaged file says what it holds, and is made anew when a person says so", async () => {
  const page = await browser.page(`${server.url}/site/`);
  expect(await open(page, false)).toBeNull();
  await page.evaluate(async () => {
    for (const sku of ["apple", "pear"])
      await replica.write([
        { sql: "INSERT INTO stock (sku, name, on_hand) VALUES (?, 'Fruit', 10)", params: [sku] },
      ]);
    replica.close();
  });
  // The worker lets go of the file by itself.
  await expect.poll(() => damage(page).catch(() => 0), { timeout: 20_000 }).toBe(1);

  const told = await open(page, false);
  expect(told?.code).toBe("database_corrupt");
  const lines = told?.work.trim().split("\n") ?? [];
  expect(
    lines.map((line) => (JSON.parse(line) as { changes: { key: string[] }[] }).changes[0]?.key),
  ).toEqual([["apple"], ["pear"]]);
  expect((await open(page, false))?.work, "and says so as often as it is asked").toBe(told?.work);

  expect(await open(page, true)).toBeNull();
  const found = await page.evaluate(async () => {
    const { rows } = await replica.query("SELECT sku, on_hand FROM stock ORDER BY sku");
    const { pending } = await replica.status();
    await replica.write([{ sql: "UPDATE stock SET on_hand = 9 WHERE sku = 'apple'" }]);
    const root = await navigator.storage.getDirectory();
    const home = await root.getDirectoryHandle(".holdfast-shop");
    const kept: string[] = [];
    for await (const name of (await home.getDirectoryHandle("damaged")).keys()) kept.push(name);
    return { rows, pending, kept: kept.sort() };
  });
  expect(found.rows).toEqual([
    ["apple", 10],
    ["pear", 10],
  ]);
  expect(found.pending).toBe(2);
  expect(found.kept).toEqual([
    expect.stringMatching(/^replica\.db\.damaged-\d{8}T\d{6}Z$/),
    expect.stringMatching(/-wal$/),
  ]);
});
