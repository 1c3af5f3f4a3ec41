import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Page } from "playwright-core";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";

import { Cable } from "../support/cable.js";
import { Chromium, until } from "../support/chromium.js";
import { open, settled, SITE } from "../support/page.js";
import { HERE, PythonDevice, Server } from "../support/processes.js";

declare global {
  // Functions in a page have names there that they have not here.
  var seen: unknown[];
  var elections: number;
  var differing: typeof import("../vectors/answers.js").differing;
}

const BROWSER = join(HERE, "..", "..");
const VECTORS = join(BROWSER, "..", "protocol", "vectors");

const ADD = "INSERT INTO stock (sku, name, on_hand) VALUES ('apple', 'Apple', 10)";
const TAKE = "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'apple'";
const COUNT = "SELECT on_hand FROM stock WHERE sku = 'apple'";

let server: Server;
let browser: Chromium;
let python: PythonDevice;

beforeEach(async () => {
  [server, browser] = await Promise.all([Server.start(SITE), Chromium.start()]);
  python = new PythonDevice(server);
});

afterEach(async () => {
  await Promise.all([browser.close(), python.close()]);
  await server.close();
});

/** A tab with the replica open. */
async function tab(options: { token?: string | null } = {}): Promise<Page> {
  const page = await browser.page(`${server.url}/site/`);
  await open(page, options.token === undefined ? "token-a" : options.token);
  return page;
}

async function write(page: Page, ...sql: string[]): Promise<void> {
  await page.evaluate((all) => replica.write(all.map((one) => ({ sql: one }))), sql);
}

function query(page: Page, sql: string): Promise<unknown> {
  return page.evaluate(async (asked) => (await replica.query(asked)).rows, sql);
}

/** How often somebody begins to lead from now on, as a page hears of it: in its `elections`. */
async function countElections(page: Page): Promise<void> {
  await page.evaluate(() => {
    globalThis.elections = 0;
    new BroadcastChannel("holdfast:shop").onmessage = ({ data }: MessageEvent) => {
      if ((data as { type: string }).type === "electing") globalThis.elections += 1;
    };
  });
}

async function offline(page: Page): Promise<void> {
  await until(page, async () => (await replica.status()).state === "offline", null);
}

describe("the replica in Chromium", () => {
  test("golden vectors", async () => {
    // Those of migrations need programs of several generations, and run in Node.
    const names = readdirSync(VECTORS).filter(
      (name) => name.endsWith(".json") && name !== "migrations.json",
    );
    const command = join(BROWSER, "..", ".venv", "bin", "holdfast");
    for (const name of ["replica", "groups", "sets"]) {
      const { cases } = JSON.parse(readFileSync(join(VECTORS, `${name}.json`), "utf8")) as {
        cases: { in: { schema: unknown } }[];
      };
      const schema = join(SITE, `${name}-schema.json`);
      writeFileSync(schema, JSON.stringify(cases[0]?.in.schema));
      const program = execFileSync(command, ["program", schema], { maxBuffer: 2 ** 25 });
      writeFileSync(join(SITE, `${name}-program.json`), program);
    }
    const page = await browser.page(`${server.url}/site/`);
    for (const name of names) {
      const found = await page.evaluate(async (file) => {
        const read = async (url: string): Promise<never> =>
          (await (await fetch(url)).json()) as never;
        const cases = await read(`/vectors/${file}`);
        const own = ["groups.json", "sets.json"].includes(file);
        const of = own ? file.slice(0, -5) : "replica";
        return await globalThis.differing(
          file.slice(0, -5),
          cases,
          await read(`${of}-program.json`),
        );
      }, name);
      expect(found, name).toEqual([]);
    }
    expect(names.length).toBeGreaterThanOrEqual(10);
  }, 180_000);

  test("what was saved is there after a reload, with the server away; and goes up when it is back", async () => {
    // The page's own files come from its service worker in an app; here only the sync server is away.
    const cable = await Cable.to(server);
    onTestFinished(() => cable.close());
    const page = await browser.page(`${cable.url}/site/`);
    await open(page);
    await write(page, ADD);
    await settled(page);
    cable.cut();
    await write(page, TAKE);
    await page.reload();
    await open(page);
    expect(await query(page, COUNT)).toEqual([[9]]);
    await write(page, TAKE);
    await offline(page);
    // A browser does not tell whether a request that failed has left it: then it counts as sent.
    const { pending, sent } = await page.evaluate(() => replica.status());
    expect(pending + sent).toBe(2);
    cable.mend();
    await page.reload();
    await open(page);
    expect(await query(page, COUNT)).toEqual([[8]]);
    await settled(page);
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[8]]);
  });

  test("a browser killed right after a write has it, and sends it once", async () => {
    let page = await tab();
    await write(page, ADD);
    await settled(page);
    await page.evaluate(() => replica.pause());
    for (let round = 0; round < 3; round += 1) {
      await write(page, TAKE);
      await browser.kill();
      await browser.start();
      page = await tab();
      expect(await query(page, COUNT)).toEqual([[9 - round]]);
      // Who wants to stay offline stays so, over kills as well.
      expect(await page.evaluate(async () => (await replica.status()).state)).toBe("paused");
    }
    await page.evaluate(() => replica.resume());
    await settled(page);
    expect(await page.evaluate(async () => (await replica.verify()).ok)).toBe(true);
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[7]]);
  });

  test("two tabs share one leader, write both, and see each other at once", async () => {
    const [one, two] = [await tab(), await tab()];
    await one.evaluate(async (sql) => {
      globalThis.seen = [];
      await replica.subscribe(sql, [], ({ rows }) => void seen.push(rows[0]?.[0] ?? null));
    }, COUNT);
    await write(two, ADD);
    await write(two, TAKE);
    await write(one, TAKE);
    await one.waitForFunction(() => seen.at(-1) === 8);
    expect(await one.evaluate(() => seen[0])).toBe(null);
    const held = await two.evaluate(
      async () =>
        (await navigator.locks.query()).held?.filter(({ name }) => name === "holdfast:shop").length,
    );
    expect(held).toBe(1);
    await python.sync();
    await python
      .write("UPDATE stock SET on_hand = on_hand + 92 WHERE sku = 'apple'")
      .catch(() => undefined);
    await settled(two);
    await python.sync();
    await python.write("UPDATE stock SET on_hand = 100");
    await python.sync();
    await one.waitForFunction(() => seen.at(-1) === 100);
  });

  test("the leader's tab is killed while others write: each write is done once", async () => {
    const pages = [await tab(), await tab(), await tab()];
    const last = pages[2] as Page;
    await write(last, "INSERT INTO stock (sku, on_hand) VALUES ('apple', 0)");
    // One after another, without a pause, until two tabs have gone that may be leading.
    const writing = last.evaluate(async () => {
      let count = 0;
      for (; count < 150 || !("enough" in globalThis); count += 1)
        await replica.write([
          { sql: "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'apple'" },
        ]);
      return count;
    });
    for (const page of pages.slice(0, 2)) {
      const before = Number(((await query(last, COUNT)) as number[][])[0]?.[0]);
      await until(
        last,
        async ([sql, from]) => Number((await replica.query(sql)).rows[0]?.[0]) > from + 10,
        [COUNT, before] as const,
      );
      const session = await browser.context.newCDPSession(page);
      // A renderer that has crashed answers nothing.
      void session.send("Page.crash").catch(() => undefined);
    }
    await last.evaluate(() => void Object.assign(globalThis, { enough: true }));
    const written = await writing;
    // Side by side, so that a failure tells whether a write was lost or only its effect.
    const counts = async (): Promise<unknown> => ({
      shown: await query(last, COUNT),
      carriedOut: await query(last, "SELECT count(*) FROM holdfast_request"),
    });
    const all = { shown: [[written]], carriedOut: [[written + 1]] };
    const atOnce = await counts();
    await settled(last);
    await python.sync();
    const later = { ...((await counts()) as object), elsewhere: await python.query(COUNT) };
    expect({ atOnce, later }).toEqual({ atOnce: all, later: { ...all, elsewhere: [[written]] } });
  });

  test("a leader that hangs is replaced, and does not write beside the next", async () => {
    const [one, two] = [await tab(), await tab()];
    await write(two, ADD);
    const [worker] = one.workers();
    // As a worker does whose page is frozen: nothing at all, for a while.
    const hanging = worker?.evaluate(() => {
      const end = Date.now() + 18_000;
      while (Date.now() < end);
    });
    await write(two, TAKE);
    await write(one, TAKE);
    await hanging;
    expect(await query(one, COUNT)).toEqual([[8]]);
    // And the one that hung can lead again.
    await two.close();
    await write(one, TAKE);
    expect(await query(one, COUNT)).toEqual([[7]]);
    await settled(one);
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[7]]);
  }, 90_000);

  test("a leader's worker that ends while others wait for it is followed by another", async () => {
    const [one, two] = [await tab(), await tab()];
    await write(two, ADD);
    await countElections(two);
    const [worker] = one.workers();
    // Asked around the end, and answered by whoever leads; each is done once.
    const ten = (): Promise<void>[] => Array.from({ length: 10 }, () => write(two, TAKE));
    const before = ten();
    await worker?.evaluate(() => close()).catch(() => undefined);
    await Promise.all([...before, ...ten()]);
    await until(two, () => Promise.resolve(elections > 0), null);
    // Its page has lost its worker, not the replica: it asks the one that leads.
    await write(one, "UPDATE stock SET on_hand = on_hand + 100 WHERE sku = 'apple'");
    expect(await query(one, COUNT)).toEqual([[90]]);
    expect(await query(two, COUNT)).toEqual([[90]]);
    await settled(one);
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[90]]);
  });

  test("a leader that is busy for long is not taken for one that hangs", async () => {
    const [one, two] = [await tab(), await tab()];
    // More than a leader may be silent for.
    const steps = await one.evaluate(async () => {
      const [count, begin] = [3_000_000, performance.now()];
      await replica.query(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) ` +
          "SELECT count(*) FROM n",
      );
      return Math.ceil((count * 16_000) / (performance.now() - begin));
    });
    await write(one, "CREATE TABLE kept (n INTEGER)");
    await write(
      one,
      "CREATE TRIGGER kept_slowly AFTER INSERT ON stock WHEN NEW.sku = 'slow' BEGIN " +
        "INSERT INTO kept SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL " +
        `SELECT i + 1 FROM n WHERE i < ${steps}) SELECT i FROM n); END`,
    );
    await countElections(two);
    await python.write("INSERT INTO stock (sku, on_hand) VALUES ('slow', 1)");
    await python.sync();
    const slow = "SELECT on_hand FROM stock WHERE sku = 'slow'";
    await until(two, async (sql) => (await replica.query(sql)).rows.length === 1, slow);
    expect(await query(two, "SELECT n FROM kept")).toEqual([[steps]]);
    expect(await two.evaluate(() => elections)).toBe(0);
  }, 120_000);

  test("a transaction asks and decides in between; a tab that leaves it open loses it alone", async () => {
    const [one, two] = [await tab(), await tab()];
    await write(one, ADD);
    await two.evaluate(async (sql) => {
      await replica.transaction(async (tx) => {
        const { rows } = await tx.execute(sql);
        await tx.execute("UPDATE stock SET on_hand = ?", [Number(rows[0]?.[0]) * 2]);
      });
    }, COUNT);
    expect(await query(one, COUNT)).toEqual([[20]]);
    const failed = await two.evaluate(async (sql) => {
      const error: unknown = await replica
        .transaction(async (tx) => {
          await tx.execute(sql);
          await tx.execute("INSERT INTO stock (sku, store_id) VALUES ('x', 'nowhere')");
        })
        .catch((caught: unknown) => caught);
      return (error as { code: string }).code;
    }, TAKE);
    expect(failed).toBe("foreign_key");
    void two
      .evaluate(async (sql) => {
        await replica.transaction(async (tx) => {
          await tx.execute(sql);
          document.title = "open";
          await new Promise(() => undefined);
        });
      }, TAKE)
      .catch(() => undefined);
    await two.waitForFunction(() => document.title === "open");
    await two.close();
    expect(await query(one, COUNT)).toEqual([[20]]);
  });

  test("offline and online again, as the browser tells it", async () => {
    const page = await tab({ token: null }).catch((error: unknown) => String(error));
    expect(page).toMatch(/token|signed|sign/i); // no cookie yet: the program cannot be fetched
    const url = `${server.url}/`;
    await browser.context.addCookies([{ name: "token", value: "token-a", url, httpOnly: true }]);
    const signed = await tab({ token: null });
    await write(signed, ADD);
    await settled(signed);
    await browser.context.setOffline(true);
    await write(signed, TAKE);
    await server.kill();
    await offline(signed);
    await server.start();
    await browser.context.setOffline(false);
    await settled(signed);
    const status = await signed.evaluate(() => replica.status());
    expect(status).toMatchObject({ user: "anna", device: "device-a", mismatches: 0 });
    expect(typeof status.persisted).toBe("boolean");
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[9]]);
  });

  test("where data cannot be kept, an error says so before the first write", async () => {
    const page = await browser.page(`http://insecure.test:${server.port}/site/`);
    const error = await page.evaluate(async () => {
      const caught: unknown = await holdfast
        .openReplica({ name: "shop" })
        .catch((one: unknown) => one);
      return { name: (caught as Error).name, code: (caught as { code: string }).code };
    });
    expect(error).toEqual({ name: "ReplicaError", code: "no_locks" });
  });
});
