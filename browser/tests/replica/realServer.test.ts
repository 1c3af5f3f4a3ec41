import { readFileSync, writeFileSync } from "node:fs";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { SyncError } from "../../src/core/errors.js";
import { Replica } from "../../src/replica/replica.js";
import { HOST } from "../../src/replica/host.js";
import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import { HttpTransport } from "../../src/replica/http/transport.js";
import { openMemory } from "../../src/sqlite/open.js";
import { SESSION_CONFIG, type SessionConfig } from "../../src/core/sessionEvents.js";
import { Proxy, PythonDevice, SCHEMA, Server } from "../support/processes.js";
import { compiled } from "../support/program.js";

let server: Server;
let python: PythonDevice;
let open: { close(): Promise<unknown> }[];

beforeEach(async () => {
  server = await Server.start();
  python = new PythonDevice(server);
  open = [python];
});

afterEach(async () => {
  await Promise.all(open.map((one) => one.close()));
  await server.close();
});

async function replica(
  options: {
    url?: string;
    image?: Uint8Array;
    program?: ReplicaProgram;
    fetch?: typeof fetch;
    session?: SessionConfig;
  } = {},
) {
  const url = options.url ?? server.url;
  const transport = new HttpTransport({
    server: url,
    token: () => "token-a",
    host: HOST,
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
  });
  const made = Replica.open({
    opened: await openMemory(options.image),
    program: options.image ? null : (options.program ?? (await transport.program())),
    transport,
    server: url,
    ...(options.session === undefined ? {} : { session: options.session }),
  });
  open.push(made);
  return made;
}

/** The page was killed: what was committed is all that is left. */
async function reborn(old: Replica, url: string): Promise<Replica> {
  return await replica({ url, image: await old.export() });
}

const ADD = "INSERT INTO stock (sku, name, on_hand) VALUES ('apple', 'Apple', 10)";
const TAKE = "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'apple'";
const COUNT = "SELECT on_hand FROM stock WHERE sku = 'apple'";

async function counted(where: Replica): Promise<unknown> {
  return (await where.query(COUNT)).rows[0]?.[0];
}

describe("a replica in TypeScript and one in Python, at a real server", () => {
  test("ten, less one here and less one there, offline, is eight on both sides", async () => {
    const ours = await replica();
    await ours.write([{ sql: ADD }]);
    expect(await ours.rowStatus("stock", "apple")).toBe("pending");
    expect((await ours.sync()).verified).toBe(true);
    await python.sync();
    await ours.write([{ sql: TAKE }]);
    await python.write(TAKE);
    expect(await counted(ours)).toBe(9);
    await ours.sync();
    await python.sync();
    await ours.sync();
    expect(await counted(ours)).toBe(8);
    expect(await python.query(COUNT)).toEqual([[8]]);
    expect(await ours.rowStatus("stock", "apple")).toBe("synced");
    expect(await ours.status()).toMatchObject({
      state: "online",
      pending: 0,
      sent: 0,
      mismatches: 0,
    });
    expect(await ours.verify()).toMatchObject({ ok: true, damaged: [], repaired: 0 });
  });

  test("after an answer that was lost, verification counts one's own work once", async () => {
    let loses = false;
    const ours = await replica({
      fetch: async (...asked) => {
        const answer = await fetch(...asked);
        if (!loses || !(asked[0] as string).endsWith("/v1/exchange")) return answer;
        await answer.arrayBuffer();
        throw new TypeError("the connection was lost");
      },
    });
    await ours.write([{ sql: ADD }]);
    await ours.sync();
    for (let taken = 1; taken <= 3; taken += 1) await ours.write([{ sql: TAKE }]);
    loses = true;
    await expect(ours.sync()).rejects.toThrow(SyncError);
    expect(await ours.status()).toMatchObject({ pending: 0, sent: 3 });
    await ours.write([{ sql: TAKE }]);
    expect(await ours.verify()).toMatchObject({ ok: true, damaged: [], repaired: 0 });
    expect(await counted(ours)).toBe(6);
    expect(await ours.status()).toMatchObject({ pending: 1, sent: 0, mismatches: 0 });
    loses = false;
    expect((await ours.sync()).verified).toBe(true);
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[6]]);
    expect(await ours.verify()).toMatchObject({ ok: true, damaged: [], repaired: 0 });
  });

  test("every type of value arrives as it was, both ways", async () => {
    const ours = await replica();
    const image = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    await ours.write([
      {
        sql: "INSERT INTO stock (sku, name, price, weight, image, cost) VALUES (?, ?, ?, ?, ?, ?)",
        params: ["a/b%c", "Grüße 😀 '\";--", 9_007_199_254_740_993n, 0.1, image, "12.50"],
      },
    ]);
    await ours.sync();
    await python.sync();
    const sql = "SELECT sku, name, price, weight, hex(image), cost FROM stock";
    const hex = Buffer.from(image).toString("hex").toUpperCase();
    const expected = ["a/b%c", "Grüße 😀 '\";--", 9_007_199_254_740_993n, 0.1, hex, "12.50"];
    expect((await ours.query(sql)).rows).toEqual([expected]);
    await python.write("UPDATE stock SET name = name || '!', weight = 1e300, price = price + 1");
    await python.sync();
    await ours.sync();
    expect((await ours.query("SELECT name, price, weight FROM stock")).rows).toEqual([
      ["Grüße 😀 '\";--!", 9_007_199_254_740_994n, 1e300],
    ]);
    expect((await ours.verify()).ok).toBe(true);
  });

  test("two prices set offline become a conflict, settled here, the same everywhere", async () => {
    const ours = await replica();
    await ours.write([{ sql: ADD }]);
    await ours.sync();
    await python.sync();
    await python.write("UPDATE stock SET price = 200");
    await python.sync();
    await ours.write([{ sql: "UPDATE stock SET price = 300, name = 'Big apple'" }]);
    await ours.sync();
    const [conflict] = await ours.conflicts();
    expect(conflict).toMatchObject({ column: "price", mine: "300", theirs: "200", base: null });
    expect(conflict).toMatchObject({ deviceValue: "300", serverValue: "200", yours: "device" });
    expect(await ours.rowStatus("stock", "apple")).toBe("conflict");
    expect((await ours.query("SELECT name, price FROM stock")).rows).toEqual([["Big apple", 200]]);
    await ours.resolve(conflict?.id ?? "", { keep: "yours" });
    await ours.sync();
    await python.sync();
    expect(await python.query("SELECT name, price FROM stock")).toEqual([["Big apple", 300]]);
    expect(await ours.conflicts()).toEqual([]);
  });

  test("what is yours on one device is the other's on the other, and keeping it is right on both", async () => {
    const ours = await replica();
    await ours.write([{ sql: ADD }]);
    await ours.sync();
    await python.sync();
    // This time theirs waits, and what stands is ours.
    await ours.write([{ sql: "UPDATE stock SET price = 300" }]);
    await ours.sync();
    await python.write("UPDATE stock SET price = 200");
    await python.sync();
    await ours.sync();
    const [conflict] = await ours.conflicts();
    expect(conflict).toMatchObject({ deviceValue: "200", serverValue: "300", yours: "server" });
    await ours.resolve(conflict?.id ?? "", { keep: "yours" });
    await ours.sync();
    await python.sync();
    expect(await python.query("SELECT price FROM stock")).toEqual([[300]]);
    expect(await ours.conflicts()).toEqual([]);
  });

  test("what a rule refuses waits with its reason, is fixed and retried, or discarded", async () => {
    const ours = await replica();
    await ours.write([{ sql: ADD }]);
    await ours.write([{ sql: "UPDATE stock SET price = 13" }]);
    await ours.write([{ sql: "UPDATE stock SET price = 14 WHERE price = 13" }]);
    expect(await ours.sync()).toMatchObject({ applied: 1, refused: 1, held: 1 });
    const [refused, held] = await ours.refused();
    expect(refused).toMatchObject({
      code: "rule:thirteen",
      message: "13 is no price",
      field: "price",
    });
    expect(refused?.changes).toMatchObject([{ new: { price: "13" }, current: { price: null } }]);
    expect(held).toMatchObject({ state: "held", heldBy: refused?.number });
    expect((await ours.query("SELECT price FROM stock")).rows).toEqual([[null]]);
    expect(await ours.status()).toMatchObject({ pending: 0, refused: 1, held: 1 });
    await ours.discard(held?.id ?? "");
    expect(await ours.retry(refused?.id ?? "")).toHaveLength(1);
    expect(await ours.sync()).toMatchObject({ refused: 1 });
    await ours.discard((await ours.refused())[0]?.id ?? "");
    expect(await ours.refused()).toEqual([]);
    await expect(ours.discard("7")).rejects.toMatchObject({ code: "no_refused" });
  });

  test("a unique value taken elsewhere first: the server's stands, ours waits in the inbox", async () => {
    const ours = await replica();
    await python.write("INSERT INTO stock (sku, barcode) VALUES ('pear', '4711')");
    await python.sync();
    await ours.write([{ sql: ADD }, { sql: "UPDATE stock SET barcode = '4711'" }]);
    await ours.write([{ sql: "INSERT INTO stock (sku) VALUES ('plum')" }]);
    expect(await ours.sync()).toMatchObject({ applied: 1, refused: 1, verified: true });
    expect((await ours.query("SELECT sku FROM stock ORDER BY sku")).rows).toEqual([
      ["pear"],
      ["plum"],
    ]);
    expect((await ours.refused())[0]).toMatchObject({ code: "unique" });
  });

  test("an answer that is lost on the way is asked for again, and nothing is done twice", async () => {
    const proxy = await Proxy.before(server);
    open.push(proxy);
    let ours = await replica({ url: proxy.url });
    await ours.write([{ sql: ADD }]);
    await ours.sync();
    await ours.write([{ sql: TAKE }]);
    for (const fault of ["drop_after", "truncate", "drop_before"]) {
      await proxy.obey(`script ${fault}`);
      await expect(ours.sync()).rejects.toBeInstanceOf(SyncError);
      expect((await ours.status()).sent + (await ours.status()).pending).toBe(1);
      ours = await reborn(ours, proxy.url);
    }
    await ours.sync();
    expect(await counted(ours)).toBe(9);
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[9]]);
  });

  test("a server killed in the middle and brought back: everything arrives once", async () => {
    const ours = await replica();
    await ours.write([{ sql: ADD }]);
    await ours.sync();
    for (let round = 0; round < 3; round += 1) {
      await ours.write([{ sql: TAKE }]);
      const trying = ours.sync().catch((error: unknown) => error);
      await server.kill();
      await trying;
      await server.start();
    }
    await ours.sync();
    expect(await counted(ours)).toBe(7);
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[7]]);
  });

  test("in the background: offline is noticed, and work goes up by itself when the server is back", async () => {
    const ours = await replica();
    await ours.start();
    await ours.write([{ sql: ADD }]);
    await until(async () => (await ours.status()).pending + (await ours.status()).sent === 0);
    await server.kill();
    await ours.write([{ sql: TAKE }]);
    await until(async () => (await ours.status()).state === "offline");
    await server.start();
    ours.hint();
    await until(
      async () => (await ours.status()).state === "online" && (await ours.status()).sent === 0,
    );
    await python.sync();
    expect(await python.query(COUNT)).toEqual([[9]]);
    // And news come by themselves, to live queries too.
    const seen: unknown[] = [];
    await ours.subscribe(COUNT, [], ({ rows }) => void seen.push(rows[0]?.[0]));
    await python.write("UPDATE stock SET on_hand = on_hand + 41");
    await python.sync();
    await until(() => Promise.resolve(seen.at(-1) === 50));
    expect(seen).toEqual([9, 50]);
  });

  test("whoever writes has the answer first; a burst of writes is told of once", async () => {
    const ours = await replica();
    const seen: unknown[] = [];
    await ours.subscribe(
      "SELECT count(*) FROM stock",
      [],
      ({ rows }) => void seen.push(rows[0]?.[0]),
    );
    const names = ["apple", "pear", "plum", "quince"];
    const sql = "INSERT INTO stock (sku, name, on_hand) VALUES (?, ?, 1)";
    const written = names.map(async (name) => {
      await ours.write([{ sql, params: [name, name] }]);
      seen.push(name);
    });
    await Promise.all(written);
    await until(() => Promise.resolve(seen.includes(4)));
    expect(seen).toEqual([0, ...names, 4]);
    // What fails in between takes nothing away from what is to be told.
    const good = ours.write([{ sql, params: ["fig", "Fig"] }]);
    const bad = ours.write([{ sql, params: ["fig", "Fig"] }]);
    await good;
    await expect(bad).rejects.toThrow();
    await until(() => Promise.resolve(seen.at(-1) === 5));
  });

  test("a captive portal's page is not believed, and a wrong token asks to sign in", async () => {
    const proxy = await Proxy.before(server);
    open.push(proxy);
    const ours = await replica({ url: proxy.url });
    await ours.write([{ sql: ADD }]);
    await proxy.obey("captive on");
    await expect(ours.sync()).rejects.toMatchObject({ code: "not_our_server" });
    expect((await ours.status()).state).toBe("offline");
    await proxy.obey("captive off");
    await ours.sync();
    const transport = new HttpTransport({ server: server.url, token: () => "nobody", host: HOST });
    const stranger = Replica.open({ opened: await openMemory(), program: ours.program, transport });
    open.push(stranger);
    await stranger.write([{ sql: ADD }]);
    await expect(stranger.sync()).rejects.toMatchObject({ code: "sign_in" });
    expect(await stranger.status()).toMatchObject({ state: "needs_sign_in", pending: 1 });
  });

  test("a wrong cell is found, and repaired without touching pending work", async () => {
    const ours = await replica();
    await ours.write([
      { sql: ADD },
      { sql: "INSERT INTO stock (sku, name) VALUES ('pear', 'Pear')" },
    ]);
    await ours.sync();
    await ours.write([{ sql: TAKE }]);
    await ours.seal();
    const opened = await openMemory(await ours.export());
    opened.connection.script(`
      UPDATE holdfast_state SET applying = 1;
      UPDATE stock SET name = 'Pea' WHERE sku = 'pear';
      UPDATE holdfast_state SET applying = 0;`);
    const image = opened.connection.serialize();
    opened.close();
    const damaged = await replica({ image });
    const report = await damaged.verify();
    expect(report).toMatchObject({ ok: true, damaged: [["stock", "pear"]], repaired: 1 });
    expect((await damaged.query("SELECT name, on_hand FROM stock ORDER BY sku")).rows).toEqual([
      ["Apple", 9],
      ["Pear", 0],
    ]);
    expect((await damaged.status()).pending).toBe(1);
  });

  test.each(["rev + 5", "rev - 1"])(
    "a wrong revision (%s) is found, and repaired",
    async (wrong) => {
      const ours = await replica();
      await ours.write([
        { sql: ADD },
        { sql: "INSERT INTO stock (sku, name) VALUES ('pear', 'Pear')" },
      ]);
      await ours.sync();
      await ours.write([{ sql: TAKE }]);
      await ours.sync();
      const opened = await openMemory(await ours.export());
      opened.connection.script(`UPDATE holdfast_row SET rev = ${wrong} WHERE key = 'pear'`);
      const image = opened.connection.serialize();
      opened.close();
      const damaged = await replica({ image });
      const report = await damaged.verify();
      expect(report).toMatchObject({ ok: true, damaged: [["stock", "pear"]], repaired: 1 });
      expect((await damaged.status()).mismatches).toBe(1);
      expect(await damaged.verify()).toMatchObject({ ok: true, damaged: [], repaired: 0 });
    },
  );

  test("what is written while an answer is on its way is sent next", async () => {
    let meanwhile: (() => Promise<unknown>) | null = null;
    const ours = await replica({
      fetch: async (...request) => {
        const answer = await fetch(...request);
        const happens = meanwhile;
        meanwhile = null;
        await happens?.();
        return answer;
      },
    });
    await ours.sync();
    meanwhile = () => ours.write([{ sql: ADD }]);
    expect(await ours.sync()).toMatchObject({ sent: 1, applied: 1, exchanges: 2, verified: true });
    meanwhile = () => ours.write([{ sql: TAKE }]);
    await ours.write([{ sql: TAKE }]);
    expect(await ours.sync()).toMatchObject({ sent: 2, applied: 2, exchanges: 2, verified: true });
    expect(await ours.status()).toMatchObject({ pending: 0, sent: 0 });
  });

  test("a page that is newer than its server waits for it, and what was written goes up by itself", async () => {
    const newer = server.path("newer.json");
    const schema = JSON.parse(readFileSync(SCHEMA, "utf8")) as ReplicaProgram["schema"];
    const stock = schema.tables.find(({ name }) => name === "stock");
    if (stock === undefined) throw new Error("no stock");
    const wider = { ...stock, columns: [...stock.columns, { name: "shelf", default: "" }] };
    const tables = schema.tables.map((table) => (table === stock ? wider : table));
    const grown = { ...schema, tables, generation: (schema.generation ?? 1) + 1 };
    writeFileSync(newer, JSON.stringify(grown));
    const backoff = { ...SESSION_CONFIG.backoff, baseMs: 20, capMs: 200, spreadMs: 20 };
    const session = { ...SESSION_CONFIG, backoff };
    const ours = await replica({ program: compiled(grown), session });
    await ours.write([{ sql: ADD }]);
    await expect(ours.sync()).rejects.toMatchObject({ code: "server_older" });
    await expect(ours.verify()).rejects.toMatchObject({ code: "server_older" });
    expect(await ours.status()).toMatchObject({
      ...{ state: "waiting", errorKind: "server_older", pending: 1 },
      schema: { generation: grown.generation, serverGeneration: grown.generation - 1 },
    });
    await ours.start();
    await server.kill();
    server.schema = newer;
    await server.start();
    await until(async () => (await ours.status()).pending + (await ours.status()).sent === 0);
    await until(async () => (await ours.status()).state === "online");
    expect((await ours.status()).schema.serverGeneration).toBe(grown.generation);
    expect((await ours.verify()).ok).toBe(true);
  });
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
