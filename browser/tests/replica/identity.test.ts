/**
 * A replica that was copied, set back or lost, and a server that was set back: everybody goes on by
 * themselves, nothing is done twice, nothing is lost.
 *
 * Checks I4, I5, I7.
 */

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { HOST } from "../../src/replica/host.js";
import { HttpTransport } from "../../src/replica/http/transport.js";
import { Replica } from "../../src/replica/replica.js";
import { openMemory } from "../../src/sqlite/open.js";
import { Proxy, Server } from "../support/processes.js";

let server: Server;
let open: { close(): Promise<unknown> }[];

beforeEach(async () => {
  server = await Server.start();
  open = [];
});

afterEach(async () => {
  await Promise.all(open.map((one) => one.close()));
  await server.close();
});

const ADD = "INSERT INTO stock (sku, name, on_hand) VALUES ('apple', 'Apple', 10)";
const TAKE = "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'apple'";
const COUNT = "SELECT on_hand FROM stock WHERE sku = 'apple'";

async function replica(
  image?: Uint8Array,
  { url = server.url, token = "token-a" } = {},
): Promise<Replica> {
  const transport = new HttpTransport({ server: url, token: () => token, host: HOST });
  const made = Replica.open({
    opened: await openMemory(image),
    program: image === undefined ? await transport.program() : null,
    transport,
    server: url,
  });
  open.push(made);
  return made;
}

const write = (to: Replica, ...sql: string[]): Promise<unknown> =>
  to.write(sql.map((one) => ({ sql: one })));

const counted = async (of: Replica): Promise<unknown> => (await of.query(COUNT)).rows[0]?.[0];

/** All sync and prove equal; what the server has counted. */
async function agreed(...all: Replica[]): Promise<unknown> {
  for (let turn = 0; turn < 2; turn += 1)
    for (const one of all) expect(await one.sync()).toMatchObject({ verified: true });
  for (const one of all)
    expect(await one.verify()).toMatchObject({ ok: true, damaged: [], repaired: 0 });
  const fresh = await replica(undefined, { token: "token-b" });
  await fresh.sync();
  const count = await counted(fresh);
  for (const one of all) {
    expect(await counted(one)).toBe(count);
    expect(await one.status()).toMatchObject({ state: "online", pending: 0, sent: 0, refused: 0 });
  }
  return count;
}

const kinds = async (of: Replica): Promise<unknown[]> =>
  (await of.history()).map(({ kind, resent, alreadyThere, toInbox }) => [
    kind,
    resent,
    alreadyThere,
    toInbox,
  ]);

describe("a copy", () => {
  test.each(["the copy first", "the original first"])(
    "both go on, turn by turn: %s",
    async (who) => {
      const ours = await replica();
      await write(ours, ADD);
      await ours.sync();
      await write(ours, TAKE); // in both, and counts once
      await ours.seal();
      await write(ours, TAKE); // likewise, though nobody has sealed it yet
      const copy = await replica(await ours.export());
      const turns = who === "the copy first" ? [copy, ours] : [ours, copy];
      for (let round = 0; round < 4; round += 1)
        for (const one of turns) {
          await write(one, TAKE);
          await one.sync();
        }
      expect(await agreed(ours, copy)).toBe(10 - 2 - 8);
      expect(await kinds(turns[0] as Replica)).toEqual([]);
      expect(await kinds(turns[1] as Replica)).toEqual([["copied", 3, 2, 0]]);
    },
  );

  test("of work that was sent, with the answer lost: it is done once", async () => {
    const proxy = await Proxy.before(server);
    open.push(proxy);
    const ours = await replica(undefined, { url: proxy.url });
    await write(ours, ADD);
    await ours.sync();
    await write(ours, TAKE);
    await proxy.obey("script drop_after");
    await expect(ours.sync()).rejects.toMatchObject({ name: "Offline" });
    const copy = await replica(await ours.export());
    await write(copy, TAKE);
    await write(ours, TAKE);
    await copy.sync();
    await ours.sync();
    expect(await agreed(ours, copy)).toBe(7);
  });

  test("a conflict between two replicas of one device is one", async () => {
    const ours = await replica();
    await write(ours, ADD);
    await ours.sync();
    const copy = await replica(await ours.export());
    await write(ours, "UPDATE stock SET price = 200");
    await write(copy, "UPDATE stock SET price = 300");
    await ours.sync();
    await copy.sync();
    await ours.sync();
    expect(await ours.conflicts()).toHaveLength(1);
    expect(await copy.conflicts()).toHaveLength(1);
  });
});

describe("an older state", () => {
  test("comes back to what it had sent since, and sends what it writes now", async () => {
    const ours = await replica();
    await write(ours, ADD);
    await ours.sync();
    await write(ours, TAKE);
    await ours.seal();
    const image = await ours.export();
    await write(ours, TAKE);
    await ours.sync();
    for (const price of [3, 2, 1]) await write(ours, `UPDATE stock SET price = ${price}`);
    await ours.sync();
    const restored = await replica(image);
    await write(restored, TAKE);
    await write(restored, "UPDATE stock SET name = 'Apples'");
    expect(await agreed(restored)).toBe(7);
    expect((await restored.query("SELECT name, price FROM stock")).rows).toEqual([["Apples", 1]]);
    expect(await kinds(restored)).toEqual([["restored", 3, 1, 0]]);
    const [happened] = await restored.history();
    expect(happened?.text).toContain("1 of them had arrived already");
  });

  test("its own past does not come into conflict with it", async () => {
    const ours = await replica();
    await write(ours, ADD);
    await ours.sync();
    await write(ours, "UPDATE stock SET price = 100");
    await ours.seal();
    const image = await ours.export();
    await ours.sync();
    const restored = await replica(image);
    await write(restored, "UPDATE stock SET price = 200");
    await agreed(restored);
    expect(await restored.conflicts()).toEqual([]);
    expect((await restored.query("SELECT price FROM stock")).rows).toEqual([[200]]);
  });
});

test("a device that has lost its file begins anew", async () => {
  const ours = await replica();
  await write(ours, ADD);
  await write(ours, TAKE);
  await ours.sync();
  const anew = await replica();
  await write(anew, "INSERT INTO stock (sku) VALUES ('pear')");
  expect(await agreed(anew)).toBe(9);
  expect(await kinds(anew)).toEqual([["reinitialised", 0, 0, 0]]);
  expect((await anew.query("SELECT count(*) FROM stock")).rows).toEqual([[2]]);
});

describe("a server that was set back", () => {
  test("has again what every device had sent since, once, also what nobody else has", async () => {
    const ours = await replica();
    const other = await replica(undefined, { token: "token-b" });
    await write(ours, ADD);
    await ours.sync();
    await other.sync();
    await server.setBack(async () => {
      await write(ours, TAKE);
      await ours.sync();
      await write(ours, "INSERT INTO stock (sku, barcode) VALUES ('pear', '1')");
      await ours.sync();
      await write(other, TAKE);
      await other.sync();
      await ours.sync();
    });
    await write(ours, TAKE); // written meanwhile, and not sent yet
    await ours.sync();
    await other.sync();
    expect(await agreed(ours, other)).toBe(7);
    expect((await other.query("SELECT sku FROM stock ORDER BY sku")).rows).toEqual([
      ["apple"],
      ["pear"],
    ]);
    // The first of them was in the backup.
    expect(await kinds(ours)).toEqual([["server_restored", 4, 1, 0]]);
    expect(await kinds(other)).toEqual([["server_restored", 1, 0, 0]]);
  });

  test("what rests on a row that is not back yet waits for it", async () => {
    const ours = await replica();
    const other = await replica(undefined, { token: "token-b" });
    await write(ours, ADD);
    await ours.sync();
    await other.sync();
    await server.setBack(async () => {
      await write(other, "INSERT INTO stock (sku, on_hand) VALUES ('pear', 5), ('plum', 1)");
      await other.sync();
      await ours.sync();
      await write(ours, TAKE, "UPDATE stock SET on_hand = on_hand - 2, name = 'A pear'");
      await write(ours, "DELETE FROM stock WHERE sku = 'plum'");
      await ours.sync();
      await other.sync();
      await write(ours, "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'pear'"); // not sent
    });
    for (const one of [ours, other, ours, other]) await one.sync();
    expect((await other.query("SELECT sku, name, on_hand FROM stock ORDER BY sku")).rows).toEqual([
      ["apple", "A pear", 7],
      ["pear", "A pear", 2],
    ]);
    expect(await agreed(ours, other)).toBe(7);
    expect(await ours.refused()).toEqual([]);
  });

  test("what it no longer takes waits in the inbox", async () => {
    const ours = await replica();
    await write(ours, ADD);
    await ours.sync();
    const other = await replica(undefined, { token: "token-b" });
    await server.setBack(async () => {
      await write(ours, "INSERT INTO stock (sku, barcode, on_hand) VALUES ('pear', '4711', 3)");
      await write(
        ours,
        "UPDATE stock SET on_hand = on_hand - 2, name = 'A pear' WHERE sku = 'pear'",
      );
      await ours.sync();
    });
    await write(other, "INSERT INTO stock (sku, barcode) VALUES ('plum', '4711')");
    await other.sync();
    await ours.sync();
    const [refused, held] = await ours.refused();
    expect(refused).toMatchObject({ state: "refused", code: "unique" });
    expect(refused?.changes).toMatchObject([
      { op: "insert", new: { barcode: "4711", on_hand: "3" } },
    ]);
    expect(held?.changes).toMatchObject([{ op: "update", new: { on_hand: "-2", name: "A pear" } }]);
    expect((await ours.query("SELECT sku FROM stock ORDER BY sku")).rows).toEqual([
      ["apple"],
      ["plum"],
    ]);
    expect(await ours.verify()).toMatchObject({ ok: true });
    // Given another number it goes, with what waited for it.
    await write(other, "UPDATE stock SET barcode = NULL WHERE sku = 'plum'");
    await other.sync();
    await ours.sync();
    await ours.retry(refused?.id ?? "");
    await ours.sync();
    expect((await ours.query("SELECT name, on_hand FROM stock WHERE sku = 'pear'")).rows).toEqual([
      ["A pear", 1],
    ]);
    expect(await ours.refused()).toEqual([]);
  });
});

test("another server is accepted: it gets what is kept and what waits, and nothing was deleted before", async () => {
  const ours = await replica();
  await write(ours, ADD);
  await ours.sync();
  await write(ours, TAKE);
  await ours.sync();
  await write(ours, TAKE);
  await server.beginAnew();
  const third = await replica(undefined, { token: "token-b" });
  await write(third, "INSERT INTO stock (sku) VALUES ('pear')");
  await third.sync();
  await expect(ours.sync()).rejects.toMatchObject({ code: "epoch_mismatch" });
  expect(await ours.status()).toMatchObject({
    state: "needs_attention",
    errorKind: "another_server",
    pending: 1,
  });
  expect(await counted(ours)).toBe(8);
  const before = await replica(await ours.acceptServer());
  expect(await counted(before)).toBe(8);
  expect(await agreed(ours)).toBe(8);
  expect(await kinds(ours)).toEqual([["accepted_server", 3, 0, 0]]);
  await write(ours, TAKE);
  await ours.sync();
  expect(await agreed(ours, third)).toBe(7);
});
