/** A file of an older generation, with all that waits in it, becomes one of the program's. */

import { writeFileSync } from "node:fs";

import { afterEach, describe, expect, test } from "vitest";

import { HOST } from "../../src/replica/host.js";
import { HttpTransport } from "../../src/replica/http/transport.js";
import { Replica } from "../../src/replica/replica.js";
import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import { openMemory, type Opened } from "../../src/sqlite/open.js";
import { declared, grown, next, shop, type Shop, withTable } from "../support/grown.js";
import { Proxy, PythonDevice, Server } from "../support/processes.js";
import { compiled } from "../support/program.js";

const before = compiled(shop);
const after = compiled(grown);
let open: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const one of open.reverse()) await one.close();
  open = [];
});

async function replica(
  program: ReplicaProgram | null,
  { image, url }: { image?: Uint8Array; url?: string } = {},
): Promise<Replica & { readonly opened: Opened }> {
  const opened = await openMemory(image);
  const transport =
    url === undefined
      ? null
      : new HttpTransport({ server: url, token: () => "token-a", host: HOST });
  const made = Replica.open({ opened, program, transport, server: url ?? "" });
  open.push(made);
  return Object.assign(made, { opened });
}

const write = (to: Replica, ...sql: string[]): Promise<unknown> =>
  to.write(sql.map((one) => ({ sql: one })));

const rows = async (of: Replica, sql: string): Promise<unknown> => (await of.query(sql)).rows;

/** The replica again, under another program. */
const migrated = async (old: Replica, to: Shop): Promise<Replica & { readonly opened: Opened }> =>
  await replica(compiled(to), { image: await old.export() });

const VALUES = "SELECT sku, on_hand, vat, origin FROM stock ORDER BY sku";

describe("at a real server that has taken declared steps", () => {
  test("queued, sent and unanswered, refused and conflicting work arrives, once; both sides prove equal", async () => {
    const server = await Server.start();
    open.push(server);
    const proxy = await Proxy.before(server);
    open.push(proxy);
    const ours = await replica(before, { url: proxy.url });
    const python = new PythonDevice(server);
    await write(
      ours,
      "INSERT INTO stock (sku, name, on_hand) VALUES ('apple', 'Apple', 10), ('pear', 'Pear', 5), ('plum', 'Plum', 1)",
    );
    await ours.sync();
    await python.sync();
    await python.write("UPDATE stock SET price = 200 WHERE sku = 'pear'");
    await python.sync();
    await write(ours, "UPDATE stock SET price = 13 WHERE sku = 'plum'"); // refused by a rule
    await write(ours, "UPDATE stock SET price = 300, name = 'Great pear' WHERE sku = 'pear'");
    await ours.sync();
    expect(await ours.status()).toMatchObject({ refused: 1, conflicts: 1 });
    // Sent, with the answer lost; then more that is queued, sealed and not.
    await write(ours, "INSERT INTO stock (sku, name, on_hand) VALUES ('kiwi', 'Kiwi', 3)");
    await proxy.obey("script drop_after");
    await expect(ours.sync()).rejects.toMatchObject({ name: "Offline" });
    await write(ours, "UPDATE stock SET name = 'Kiwis' WHERE sku = 'kiwi'");
    await write(ours, "UPDATE stock SET on_hand = on_hand - 1, weight = 2.5 WHERE sku = 'apple'");
    await ours.seal();
    await write(ours, "INSERT INTO stock (sku, name) VALUES ('lime', 'Lime')");
    await write(ours, "DELETE FROM stock WHERE sku = 'plum'");
    const image = await ours.export();
    await python.close();

    await server.kill();
    server.schema = server.path("grown.json");
    writeFileSync(server.schema, JSON.stringify(declared));
    await server.start();
    const again = await replica(compiled(declared), { image, url: proxy.url });
    expect(await again.status()).toMatchObject({ refused: 2, conflicts: 1 });
    const [gone] = await again.refused();
    expect(gone).toMatchObject({
      code: "column_gone",
      message: "stock.weight is gone with a new version of the app; weight was to be 2.5",
      changes: [{ table: "stock", key: "apple", op: "gone", new: { weight: 2.5 } }],
    });
    await expect(again.retry(gone?.id ?? "")).rejects.toMatchObject({ code: "gone" });
    await again.discard(gone?.id ?? "");
    expect(await again.status()).toMatchObject({ refused: 1, conflicts: 1 });
    expect(await again.conflicts()).toMatchObject([{ column: "price" }]);
    const seen = [
      ["apple", 9, 20, null],
      ["kiwi", 3, 20, null],
      ["lime", 0, 20, null],
      ["pear", 5, 20, null],
    ];
    expect(await rows(again, VALUES)).toEqual(seen);
    expect(await again.sync()).toMatchObject({ verified: true });
    expect(await rows(again, VALUES)).toEqual(seen);
    expect(await again.verify()).toMatchObject({ ok: true, damaged: [], repaired: 0 });
    expect((await again.history()).map(({ kind }) => kind)).toEqual(["migrated"]);
    await write(
      again,
      "INSERT INTO tag VALUES ('fresh')",
      "UPDATE stock SET vat = 7, origin = 'Kreta'",
    );
    expect(await again.sync()).toMatchObject({ verified: true });
    const other = new PythonDevice(server, "new.db", "token-run-1");
    open.push(other);
    await other.sync();
    expect(await other.query("SELECT id FROM tag")).toEqual([["fresh"]]);
    expect(await other.query(VALUES)).toEqual(seen.map(([sku, count]) => [sku, count, 7, "Kreta"]));
  });
});

describe("a device of the generation before, at a server that has grown", () => {
  /** A server of the next generation with a device of its own, and a replica of the one before. */
  async function met(): Promise<{ ours: Replica; python: PythonDevice; server: Server }> {
    const server = await Server.start();
    open.push(server);
    const ours = await replica(before, { url: server.url });
    await write(ours, "INSERT INTO stock (sku, name) VALUES ('pear', 'Pear'), ('plum', 'Plum')");
    await ours.sync();
    await server.kill();
    server.schema = server.path("grown.json");
    writeFileSync(server.schema, JSON.stringify(grown));
    await server.start();
    const python = new PythonDevice(server);
    open.push(python);
    await python.sync();
    return { ours, python, server };
  }

  const LONG = "P".repeat(60);

  test("rows beyond its checks stand, also under work of its own that is set aside", async () => {
    const { ours, python } = await met();
    await write(ours, "UPDATE stock SET barcode = '4711' WHERE sku = 'pear'");
    await python.write(
      `UPDATE stock SET name = '${LONG}' WHERE sku = 'pear'`,
      "UPDATE stock SET barcode = '4711' WHERE sku = 'plum'",
    );
    await python.sync();
    // It brings the news, and sends nothing.
    expect(await ours.verify()).toMatchObject({ ok: true, damaged: [] });
    expect(await ours.status()).toMatchObject({ pending: 1, setAside: 1 });
    const seen = "SELECT name, barcode FROM stock ORDER BY sku";
    expect(await rows(ours, seen)).toEqual([
      [LONG, null],
      ["Plum", "4711"],
    ]);
    expect(await ours.sync()).toMatchObject({ refused: 1, verified: true });
    expect(await rows(ours, seen)).toEqual([
      [LONG, null],
      ["Plum", "4711"],
    ]);
    // What it writes itself, it checks as ever.
    await expect(
      write(ours, `UPDATE stock SET name = '${LONG}' WHERE sku = 'plum'`),
    ).rejects.toMatchObject({ code: "check" });
  });

  test("rows that pass no checks of the generation it grows to stand, too", async () => {
    const { ours, python } = await met();
    await python.write(`UPDATE stock SET name = '${LONG}' WHERE sku = 'pear'`);
    await python.sync();
    await ours.sync();
    const between = next(shop, {
      tables: withTable(shop, "stock", ({ columns }) => ({
        columns: [...columns, { name: "vat", type: "integer", default: "20" }],
        checks: [{ column: "name", kind: "length", max: 50 }],
      })),
    });
    const again = await migrated(ours, between);
    expect(await rows(again, "SELECT name, vat FROM stock ORDER BY sku")).toEqual([
      [LONG, 20],
      ["Plum", 20],
    ]);
    await expect(
      write(again, `UPDATE stock SET name = '${LONG}' WHERE sku = 'plum'`),
    ).rejects.toMatchObject({ code: "check" });
  });

  test("held and set-aside work migrates with its reasons, and goes on in the new generation", async () => {
    const { ours, python, server } = await met();
    await write(ours, "UPDATE stock SET price = 13 WHERE sku = 'plum'"); // refused by a rule
    await write(ours, "UPDATE stock SET price = 14 WHERE sku = 'plum' AND price = 13");
    expect(await ours.sync()).toMatchObject({ refused: 1, held: 1 });
    await write(ours, "UPDATE stock SET barcode = '4711' WHERE sku = 'pear'");
    await python.write("UPDATE stock SET barcode = '4711' WHERE sku = 'plum'");
    await python.sync();
    expect(await ours.verify()).toMatchObject({ ok: true });
    const before_ = await ours.refused();
    expect(before_.map(({ state, code }) => [state, code])).toEqual([
      ["refused", "rule:thirteen"],
      ["held", "held"],
      ["held", "unique"],
    ]);
    const again = await replica(after, { image: await ours.export(), url: server.url });
    expect(await again.status()).toMatchObject({ refused: 1, held: 2, setAside: 1, pending: 1 });
    const plain = (all: typeof before_): unknown =>
      all.map(({ number, state, code, heldBy, message }) => [number, state, code, heldBy, message]);
    expect(plain(await again.refused())).toEqual(plain(before_));
    // Room for what was set aside; what was refused is given up, and what waits for it goes on.
    await python.write("UPDATE stock SET barcode = NULL WHERE sku = 'plum'");
    await python.sync();
    await again.discard(before_[0]?.id ?? "");
    expect(await again.sync()).toMatchObject({ refused: 0, verified: true });
    expect(await rows(again, "SELECT sku, price, barcode, vat FROM stock ORDER BY sku")).toEqual([
      ["pear", null, "4711", 20],
      ["plum", 14, null, 20],
    ]);
    expect(await again.refused()).toEqual([]);
    expect(await again.verify()).toMatchObject({ ok: true, damaged: [], repaired: 0 });
  });
});

describe("a file alone", () => {
  test("fills rows, shadows and what waits: what a change did not know it does not touch", async () => {
    const old = await replica(before);
    await write(old, "INSERT INTO stock (sku, name) VALUES ('apple', 'Apple')");
    await write(old, "UPDATE stock SET name = 'Green apple' WHERE sku = 'apple'");
    await write(old, "INSERT INTO stock (sku, name) VALUES ('pear', 'Pear')");
    const again = await migrated(old, grown);
    expect(await rows(again, "SELECT sku, name, label, vat FROM stock ORDER BY sku")).toEqual([
      ["apple", "Green apple", "APPLE", 20],
      ["pear", "Pear", "PEAR", 20],
    ]);
    const images = "SELECT key, o_name, o_label, n_name, n_label FROM holdfast_change_stock";
    expect(await rows(again, `${images} ORDER BY tx`)).toEqual([
      ["apple", null, null, "Apple", "APPLE"],
      ["apple", "Apple", "APPLE", "Green apple", "APPLE"],
      ["pear", null, null, "Pear", "PEAR"],
    ]);
  });

  test("has what a new one of the program has", async () => {
    const old = await replica(before);
    await write(old, "INSERT INTO stock (sku, name) VALUES ('apple', 'Apple')");
    const again = await migrated(old, grown);
    const fresh = await replica(after);
    const objects =
      "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name";
    expect(await rows(again, objects)).toEqual(await rows(fresh, objects));
    const columns =
      'SELECT s.name, t.name, t.type, t."notnull", t.dflt_value, t.pk FROM sqlite_schema AS s, ' +
      "pragma_table_info(s.name) AS t WHERE s.type = 'table' ORDER BY s.name, t.name";
    expect(await rows(again, columns)).toEqual(await rows(fresh, columns));
    // The looser check holds, and no looser one.
    const named = (length: number): Promise<unknown> =>
      write(again, `UPDATE stock SET name = substr(hex(zeroblob(99)), 1, ${length})`);
    await named(60);
    await expect(named(61)).rejects.toMatchObject({ code: "check" });
    expect(again.opened.connection.execute("PRAGMA foreign_key_check")).toEqual([]);
    expect(again.opened.connection.execute("PRAGMA integrity_check")).toEqual([["ok"]]);
  });

  test.each<[string, Shop, string]>([
    ["an older generation", { ...grown, generation: 0 }, "replica_newer"],
    [
      "the same generation of another schema",
      { ...shop, tables: grown.tables },
      "generation_reused",
    ],
    [
      "a column that is gone",
      next(shop, {
        tables: withTable(shop, "stock", ({ columns }) => ({
          columns: columns.filter(({ name }) => name !== "weight"),
        })),
      }),
      "schema_mismatch",
    ],
    [
      "a check that is tighter",
      next(shop, {
        tables: withTable(shop, "stock", () => ({
          checks: [{ column: "name", kind: "length", max: 39 }],
        })),
      }),
      "schema_mismatch",
    ],
    [
      "a fill that does not fit",
      next(shop, {
        tables: withTable(shop, "stock", ({ columns }) => ({
          columns: [...columns, { name: "day", type: "date", fill: "name || '!'", nullable: true }],
        })),
      }),
      "bad_fill",
    ],
  ])("is not changed by %s", async (_, wanted, code) => {
    const old = await replica(compiled({ ...shop, generation: 1 }));
    await write(old, "INSERT INTO stock (sku, name) VALUES ('apple', 'Apple')");
    const image = await old.export();
    const opened = await openMemory(image);
    const program = { ...compiled({ ...wanted, generation: wanted.generation || 1 }) };
    const given =
      wanted.generation === 0
        ? { ...program, schema: { ...program.schema, generation: 0 } }
        : program;
    expect(() => Replica.open({ opened, program: given, transport: null })).toThrow(
      expect.objectContaining({ code }),
    );
    expect(Buffer.from(opened.connection.serialize()).equals(Buffer.from(image))).toBe(true);
    const still = Replica.open({ opened, program: null, transport: null });
    open.push(still);
    expect(await rows(still, "SELECT sku, name FROM stock")).toEqual([["apple", "Apple"]]);
    expect(await still.rowStatus("stock", "apple")).toBe("pending");
  });

  test("local tables: caches are filled again, what is the app's own is kept, the rest stays", async () => {
    const COUNTING =
      "CREATE TRIGGER count_in AFTER INSERT ON stock BEGIN " +
      "INSERT INTO counted VALUES (NEW.sku, NEW.on_hand) ON CONFLICT DO UPDATE SET n = n + NEW.on_hand; END";
    const LISTING =
      "CREATE TRIGGER list_in AFTER INSERT ON stock BEGIN INSERT INTO listed VALUES (NEW.sku); END";
    const UNLISTING =
      "CREATE TRIGGER list_out AFTER DELETE ON stock BEGIN DELETE FROM listed WHERE sku = OLD.sku; END";
    const old = await replica(
      compiled({
        ...shop,
        local: [
          "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT) STRICT",
          "CREATE TABLE counted (sku TEXT PRIMARY KEY, n INTEGER) STRICT",
          "CREATE TABLE listed (sku TEXT) STRICT",
          "CREATE TABLE gone (n INTEGER)",
          COUNTING,
          LISTING,
          "CREATE VIEW many AS SELECT sku FROM counted WHERE n > 5",
        ],
      }),
    );
    await write(
      old,
      "INSERT INTO stock (sku, on_hand) VALUES ('apple', 10), ('pear', 5)",
      "INSERT INTO setting VALUES ('store', 'one')",
      "UPDATE counted SET n = n + 100",
    );
    const LISTED = "CREATE TABLE listed (sku TEXT, name TEXT) STRICT";
    const again = await migrated(
      old,
      next(shop, {
        local: [
          "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT, note TEXT DEFAULT '-') STRICT",
          "CREATE TABLE counted (sku TEXT PRIMARY KEY, n INTEGER) STRICT",
          LISTED,
          COUNTING,
          LISTING.replace("(NEW.sku)", "(NEW.sku, NEW.name)"),
          UNLISTING,
          "CREATE VIEW many AS SELECT sku FROM counted WHERE n > 105",
        ],
      }),
    );
    expect(await rows(again, "SELECT * FROM setting")).toEqual([["store", "one", "-"]]);
    expect(await rows(again, "SELECT * FROM listed ORDER BY sku")).toEqual([
      ["apple", ""],
      ["pear", ""],
    ]);
    // Nobody has counted again: that table, and what fills it, are as they were.
    expect(await rows(again, "SELECT * FROM counted ORDER BY sku")).toEqual([
      ["apple", 110],
      ["pear", 105],
    ]);
    expect(await rows(again, "SELECT * FROM many")).toEqual([["apple"]]);
    expect(
      await rows(again, "SELECT name FROM sqlite_schema WHERE name IN ('gone', 'list_out')"),
    ).toEqual([["list_out"]]);
    await write(again, "DELETE FROM stock WHERE sku = 'pear'");
    expect(await rows(again, "SELECT sku FROM listed")).toEqual([["apple"]]);
    expect(await again.status()).toMatchObject({ pending: 2 });
  });
});
