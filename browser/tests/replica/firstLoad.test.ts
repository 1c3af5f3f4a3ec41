/**
 * A first load as a file, in Node: cut, damaged, paused or without room, it comes whole, or its rows come.
 *
 * Checks I16, I31.
 */

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { Offline } from "../../src/core/errors.js";
import { SESSION_CONFIG, type SessionConfig } from "../../src/core/sessionEvents.js";
import { HOST } from "../../src/replica/host.js";
import { Replica } from "../../src/replica/replica.js";
import type { Loading } from "../../src/replica/storage/status.js";
import { HttpTransport } from "../../src/replica/http/transport.js";
import type { Connection } from "../../src/sqlite/connection.js";
import type { FileStore } from "../../src/sqlite/fileStore.js";
import { openMemory } from "../../src/sqlite/open.js";
import { FileProxy } from "../support/fileProxy.js";
import { PythonDevice, Server } from "../support/processes.js";
import { BEFORE, COUNT_ALL, fill, FILE_ROWS, ROWS, SEVENTH } from "../support/stock.js";

let server: Server;
let proxy: FileProxy;
let open: { close(): Promise<unknown> }[];

beforeEach(async () => {
  server = await Server.start(null, { fileRows: FILE_ROWS });
  server.shell(fill());
  proxy = await FileProxy.before(server);
  open = [proxy];
});

afterEach(async () => {
  await Promise.all(open.map((one) => one.close()));
  await server.close();
});

const STAGES = ["building", "downloading", "checking", "importing"] as const;

interface Device {
  readonly replica: Replica;
  readonly connection: Connection;
  readonly keep: FileStore;
  /** What its status has told of loads. */
  readonly seen: Loading[];
}

/** A keep of which something is other. */
function around(keep: FileStore, other: Partial<FileStore>): FileStore {
  return {
    names: () => keep.names(),
    size: (name) => keep.size(name),
    bytes: (name) => keep.bytes(name),
    makeDatabase: (name, pieces) => keep.makeDatabase(name, pieces),
    openDatabase: (name) => keep.openDatabase(name),
    attach: (to, name, alias) => keep.attach(to, name, alias),
    remove: (name) => keep.remove(name),
    free: () => keep.free(),
    ...other,
  };
}

async function device(
  keptIn: (keep: FileStore) => FileStore = (keep) => keep,
  onClose: () => void = () => undefined,
  session: SessionConfig = SESSION_CONFIG,
): Promise<Device> {
  const transport = new HttpTransport({ server: proxy.url, token: () => "token-a", host: HOST });
  const opened = await openMemory();
  const keep = keptIn(opened.keep);
  const close = (): void => {
    onClose();
    opened.close();
  };
  const replica = Replica.open({
    opened: { ...opened, keep, close },
    program: await transport.program(),
    transport,
    session,
  });
  open.push(replica);
  const seen: Loading[] = [];
  await replica.watchStatus(({ loading, state }) => {
    if (loading === null) return;
    expect(["syncing", "paused"]).toContain(state);
    if (state === "syncing") seen.push(loading);
  });
  return { replica, connection: opened.connection, keep, seen };
}

async function one(replica: Replica, sql: string): Promise<unknown> {
  return (await replica.query(sql)).rows[0]?.[0];
}

/** Everything is there once, work from before is kept and sent, and capture is what it was. */
async function isWhole({ replica, keep }: Device): Promise<void> {
  expect(await keep.names()).toEqual([]);
  expect(await one(replica, COUNT_ALL)).toBe(ROWS + 1);
  expect(await one(replica, SEVENTH)).toBe(12);
  expect(await replica.verify()).toMatchObject({ ok: true, damaged: [], repaired: 0 });
  await replica.write([{ sql: "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'p000007'" }]);
  expect(await replica.status()).toMatchObject({ pending: 1, mismatches: 0, loading: null });
  expect((await replica.sync()).verified).toBe(true);
  const python = new PythonDevice(server);
  open.push(python);
  await python.sync();
  expect(await python.query(`${SEVENTH} UNION ALL ${COUNT_ALL}`)).toEqual([[11], [ROWS + 1]]);
}

describe("a first load as a file", () => {
  test("comes in stages that are told, and keeps what was written before", async () => {
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    const live: unknown[] = [];
    await ours.replica.subscribe(COUNT_ALL, [], ({ rows }) => void live.push(rows[0]?.[0]));
    const report = await ours.replica.sync();
    expect(report).toMatchObject({ sent: 1, applied: 1, verified: true });
    expect(report.receivedRows).toBeGreaterThanOrEqual(ROWS);
    expect(proxy.ranges).toEqual([""]);
    const stages = [...new Set(ours.seen.map(({ stage }) => stage))];
    // In their order; one that is over at once may not be told.
    expect(stages).toEqual(STAGES.filter((stage) => stages.includes(stage)));
    expect(stages).toEqual(expect.arrayContaining(["downloading", "importing"]));
    expect(ours.seen.at(-1)).toEqual({
      stage: "importing",
      done: ROWS + 1, // the row that was sent is in the file
      total: ROWS + 1,
      scopes: ["main"],
    });
    expect(ours.seen.every(({ done, total }) => done <= total)).toBe(true);
    await until(() => live.length === 2);
    expect(live).toEqual([2, ROWS + 1]);
    await isWhole(ours);
  });

  test("is told to live queries on a table that a trigger of the app's keeps", async () => {
    const ours = await device();
    await ours.replica.write([
      { sql: "CREATE TABLE tally (rows INTEGER)" },
      { sql: "INSERT INTO tally VALUES (0)" },
      {
        sql:
          "CREATE TRIGGER tally_more AFTER INSERT ON stock " +
          "BEGIN UPDATE tally SET rows = rows + 1; END",
      },
    ]);
    const live: unknown[] = [];
    await ours.replica.subscribe("SELECT rows FROM tally", [], ({ rows }) => {
      live.push(rows[0]?.[0]);
    });
    await ours.replica.sync();
    await until(() => live.length === 2);
    expect(live).toEqual([0, ROWS]);
  });

  test("goes on where it was cut, at any byte, and is never there by halves", async () => {
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    const cuts = [1, 4_095, 70_001, 65_536, 3, 90_007, 40_000];
    proxy.fates = cuts.map((cutAfter) => ({ cutAfter }));
    for (const cut of cuts) {
      await expect(ours.replica.sync(), `cut after ${cut}`).rejects.toBeInstanceOf(Offline);
      expect(await one(ours.replica, COUNT_ALL)).toBe(2);
    }
    await ours.replica.sync();
    const starts = proxy.ranges.slice(1).map((range) => Number(/bytes=(\d+)-/.exec(range)?.[1]));
    expect(starts).toHaveLength(cuts.length);
    expect(starts.every((start, at) => start > (starts[at - 1] ?? 0))).toBe(true);
    // Nothing came twice: what was let through is the file, but for bytes that were under way.
    const size = ours.seen.find(({ stage }) => stage === "downloading")?.total ?? 0;
    expect(proxy.bytes).toBeGreaterThanOrEqual(size);
    expect(proxy.bytes - size).toBeLessThan(size / 2);
    await isWhole(ours);
  });

  test("a damaged file is fetched once more", async () => {
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    proxy.fates = [{ damagedAt: 100_000 }];
    await ours.replica.sync();
    expect(proxy.ranges).toEqual(["", ""]);
    await isWhole(ours);
  });

  test("a file that is damaged twice is refused, and the rows come in the answer", async () => {
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    proxy.fates = [{ damagedAt: 100_000 }, { damagedAt: 20 }];
    const report = await ours.replica.sync();
    expect(report).toMatchObject({ sent: 1, applied: 1, verified: true });
    expect(proxy.ranges).toEqual(["", ""]);
    expect(ours.seen.map(({ stage }) => stage)).not.toContain("importing");
    await isWhole(ours);
  });

  test("a file that is offered twice is refused, and the rows come in the answer", async () => {
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    proxy.twice = true;
    expect(await ours.replica.sync()).toMatchObject({ verified: true });
    expect(proxy.ranges).toEqual([""]);
    expect(ours.seen.map(({ stage }) => stage)).not.toContain("importing");
    await isWhole(ours);
  });

  test("a file that is gone is offered again", async () => {
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    proxy.fates = [{ gone: true }, { cutAfter: 80_000 }, { gone: true }];
    await expect(ours.replica.sync()).rejects.toBeInstanceOf(Offline);
    await ours.replica.sync();
    expect(proxy.ranges).toEqual(["", "", "bytes=80000-", "bytes=80000-"]);
    await isWhole(ours);
  });

  test("where there is no room a stable code says so, and work goes on", async () => {
    let free: number | null = 100_000;
    const ours = await device((keep) => around(keep, { free: () => Promise.resolve(free) }));
    await ours.replica.write([{ sql: BEFORE }]);
    await expect(ours.replica.sync()).rejects.toMatchObject({ code: "disk_full" });
    expect(proxy.ranges).toEqual([]);
    const status = await ours.replica.status();
    expect(status).toMatchObject({ errorCode: "disk_full", loading: null });
    expect(status.pending + status.sent).toBe(1);
    free = null;
    await ours.replica.sync();
    await isWhole(ours);
  });

  test("a file that cannot be kept is told by what keeps it from us", async () => {
    let failure = new DOMException("the handle is closed", "InvalidStateError");
    const ours = await device((keep) =>
      around(keep, {
        makeDatabase: async (name, pieces) => {
          if (failure.message === "") return await keep.makeDatabase(name, pieces);
          throw failure;
        },
      }),
    );
    await ours.replica.write([{ sql: BEFORE }]);
    await expect(ours.replica.sync()).rejects.toMatchObject({ code: "file_not_kept" });
    expect(await arrived(ours.keep)).toBeGreaterThan(0); // it is not fetched again for that
    failure = new DOMException("no more", "QuotaExceededError");
    await expect(ours.replica.sync()).rejects.toMatchObject({ code: "disk_full" });
    expect(await ours.keep.names()).toEqual([]);
    failure = new DOMException("");
    await ours.replica.sync();
    expect(proxy.ranges).toEqual(["", ""]);
    await isWhole(ours);
  });

  test("a disk that is full while it imports is given back", async () => {
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    const pages = async (): Promise<number> =>
      Number(await one(ours.replica, "SELECT page_count FROM pragma_page_count"));
    const [most] = ours.connection.execute("PRAGMA max_page_count");
    ours.connection.execute(`PRAGMA max_page_count = ${(await pages()) + 50}`);
    await expect(ours.replica.sync()).rejects.toMatchObject({ code: "database_full" });
    expect(ours.seen.map(({ stage }) => stage)).toContain("importing");
    expect(await ours.keep.names()).toEqual([]);
    expect(await one(ours.replica, COUNT_ALL)).toBe(2);
    await ours.replica.write([{ sql: "UPDATE stock SET name = 'on' WHERE sku = 'mine'" }]);
    expect(await ours.replica.status()).toMatchObject({
      errorCode: "database_full",
      loading: null,
    });
    ours.connection.execute(`PRAGMA max_page_count = ${String(most?.[0])}`);
    await ours.replica.sync();
    await isWhole(ours);
  });

  test("a pause ends the download, and it goes on behind what is there", async () => {
    proxy.holdAfter = 100_000;
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    await ours.replica.start();
    await until(() => proxy.held.files === 1);
    await until(async () => (await arrived(ours.keep)) === 100_000);
    const made = proxy.exchanges;
    await ours.replica.pause();
    expect((await ours.replica.status()).state).toBe("paused");
    await isPaused(ours.replica); // although the proxy still holds the file
    proxy.release();
    await ours.replica.write([{ sql: "UPDATE stock SET name = 'later' WHERE sku = 'mine'" }]);
    expect(await ours.replica.status()).toMatchObject({ state: "paused", loading: null });
    expect([proxy.exchanges, proxy.ranges]).toEqual([made, [""]]);
    await goesOn(ours.replica);
    expect(proxy.ranges).toEqual(["", "bytes=100000-"]);
    await isWhole(ours);
  });

  test("a pause that is over before the load has ended costs no time", async () => {
    proxy.holdAfter = 100_000;
    const never = { baseMs: 3_600_000, capMs: 3_600_000, spreadMs: 1, retryAfterMsMax: null };
    const ours = await device(undefined, undefined, { ...SESSION_CONFIG, backoff: never });
    await ours.replica.write([{ sql: BEFORE }]);
    await ours.replica.start();
    await until(() => proxy.held.files === 1);
    await until(async () => (await arrived(ours.keep)) === 100_000);
    await Promise.all([ours.replica.pause(), ours.replica.resume()]);
    proxy.release();
    await until(async () => (await ours.replica.status()).state === "online");
    expect(proxy.ranges).toEqual(["", "bytes=100000-"]);
    await ours.replica.pause();
    await isWhole(ours);
  });

  test("a pause ends the wait for a file too", async () => {
    proxy.fates = [{ gone: true }];
    const ours = await device();
    await ours.replica.write([{ sql: BEFORE }]);
    await ours.replica.start();
    await until(() => proxy.ranges.length === 1);
    const made = proxy.exchanges;
    await ours.replica.pause();
    await isPaused(ours.replica);
    expect([proxy.exchanges, proxy.ranges]).toEqual([made, [""]]);
    await goesOn(ours.replica);
    await isWhole(ours);
  });

  test("a pause holds for what waits behind another exchange", async () => {
    proxy.holdExchanges = true;
    const ours = await device();
    const syncing = ours.replica.sync();
    await until(() => proxy.held.exchanges === 1);
    await ours.replica.start();
    await ours.replica.pause();
    proxy.release();
    await expect(syncing).rejects.toMatchObject({ code: "interrupted" });
    await isPaused(ours.replica);
    expect([proxy.exchanges, proxy.ranges]).toEqual([1, []]);
    await goesOn(ours.replica);
  });

  test("where a pause cannot be forgotten, it ends all the same", async () => {
    const ours = await device();
    await ours.replica.start();
    await ours.replica.pause();
    ours.connection.execute("PRAGMA query_only = 1");
    await expect(ours.replica.resume()).rejects.toMatchObject({ name: "DatabaseError" });
    await until(async () => (await ours.replica.status()).state !== "paused");
    ours.connection.execute("PRAGMA query_only = 0");
  });

  test("closing the replica waits until its files are closed", async () => {
    let open = 0;
    const closing: Promise<void>[] = [];
    const whenClosed: number[] = [];
    const ours = await device(
      (keep) =>
        around(keep, {
          openDatabase: (name) => {
            const db = keep.openDatabase(name);
            const close = db.close.bind(db);
            open += 1;
            db.close = () => {
              open -= 1;
              close();
            };
            // When the check lets others have a moment.
            queueMicrotask(() => void closing.push(ours.replica.close()));
            return db;
          },
        }),
      () => whenClosed.push(open),
    );
    await expect(ours.replica.sync()).rejects.toMatchObject({ code: "interrupted" });
    await Promise.all(closing);
    expect(whenClosed).toEqual([0]);
  });

  test("closing the replica does not wait for it", async () => {
    proxy.holdAfter = 50_000;
    const ours = await device();
    const syncing = ours.replica.sync().catch((error: unknown) => error);
    await until(() => proxy.held.files > 0);
    await ours.replica.close();
    expect(await syncing).toBeInstanceOf(Offline);
  });
});

test("a large catch-up comes as a file too, and work that was not sent stays on top", async () => {
  const ours = await device();
  await ours.replica.sync();
  proxy.ranges = [];
  await ours.replica.write([
    { sql: "UPDATE stock SET on_hand = on_hand + 5 WHERE sku = 'p000007'" },
  ]);
  await ours.replica.write([{ sql: "UPDATE stock SET name = 'ours' WHERE sku = 'p000009'" }]);
  server.shell(
    `UPDATE stock SET on_hand = on_hand + 1, name = 'x' || sku WHERE on_hand < ${FILE_ROWS + 500}`,
  );
  server.shell("DELETE FROM stock WHERE sku = 'p011999'");
  proxy.fates = [{ cutAfter: 5_000 }];
  await expect(ours.replica.sync()).rejects.toBeInstanceOf(Offline);
  const report = await ours.replica.sync();
  expect(report).toMatchObject({ removedRows: 1, verified: true, repairedRows: 0 });
  expect(proxy.ranges).toEqual(["", "bytes=5000-"]);
  expect(await one(ours.replica, SEVENTH)).toBe(13);
  expect(await one(ours.replica, COUNT_ALL)).toBe(ROWS - 1);
  expect(await one(ours.replica, "SELECT name FROM stock WHERE sku = 'p002400'")).toBe("xp002400");
  expect(await ours.keep.names()).toEqual([]);
  expect(await ours.replica.status()).toMatchObject({ pending: 0, sent: 0, mismatches: 0 });
  expect((await ours.replica.verify()).ok).toBe(true);
});

test("a catch-up file with a line that cannot be used is refused, and the rows come", async () => {
  const ours = await device();
  await ours.replica.sync();
  const lines = [
    { type: "rows", table: "nowhere", rows: [[1, "x"]] },
    { type: "rows", table: "stock", rows: [[1, "too few"]] },
    { type: "gone", table: "nowhere", keys: ["x"] },
  ];
  for (const line of lines) {
    server.shell(`UPDATE stock SET on_hand = on_hand + 1 WHERE on_hand < ${FILE_ROWS + 500}`);
    proxy.ranges = [];
    proxy.forged = Buffer.from(`${JSON.stringify(line)}\n`);
    expect(await ours.replica.sync(), JSON.stringify(line)).toMatchObject({ verified: true });
    expect(proxy.ranges).toEqual([""]);
  }
  expect(await one(ours.replica, SEVENTH)).toBe(10);
});

/** How much has arrived of the file. */
async function arrived(keep: FileStore): Promise<number> {
  const [part] = (await keep.names()).filter((name) => name.endsWith(".part"));
  return part === undefined ? 0 : await keep.size(part);
}

/** The load has ended, for no error, and the replica is paused. */
async function isPaused(replica: Replica): Promise<void> {
  await until(async () => (await replica.status()).loading === null);
  expect(await replica.status()).toMatchObject({ state: "paused", errorCode: null });
}

/** It resumes, and comes to its end; then the background is quiet again. */
async function goesOn(replica: Replica): Promise<void> {
  await replica.resume();
  await until(async () => (await replica.status()).state === "online");
  await replica.pause();
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
