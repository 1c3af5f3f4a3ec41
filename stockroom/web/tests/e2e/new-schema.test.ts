/** A new version of the app whose schema has grown: what is stored migrates, and what waited arrives.
 * The page on schema changes in `docs/` walks through it. */

import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { deploy, offered, shows } from "../support/deploy.js";
import { openTab } from "../support/tab.js";
import { Person, World } from "../support/world.js";

let world: World;
let dilan: Person;
beforeAll(async () => {
  world = await World.make({ ownWeb: true });
  dilan = await world.person("dilan");
  await dilan.installed();
  await world.enrolDevice("till.db", "dilan", "1");
});
afterAll(() => world.close());

test("the queues of the version before, and what is half typed, go on in the new one", async () => {
  const { page } = dilan;
  const till = (...words: string[]): Promise<Record<string, unknown>> =>
    world.device("till.db", ...words);
  const sale = ["adjust", "KEY-1", "--by", "-1", "--reason", "sale"];
  await dilan.addProduct("KEY-1", "Key ring", "2.00");
  await dilan.receive("KEY-1", 8, "K-1");
  await dilan.chip(/All saved to server/);
  // Unsent work of the version before: a person wants to stay offline.
  await dilan.to("saved/device");
  await page.getByRole("switch").check();
  await dilan.adjustTo("KEY-1", 6);
  await dilan.addProduct("KEY-2", "Key board", "9.00");
  await dilan.chip(/Staying offline: \d+ changes? kept on this device/);
  // And of a till, which is Python's.
  await till("sync");
  await till(...sale);
  await till("product", "add", "--sku", "LOCK-1", "--name", "Lock", "--price", "5.00");
  // Another tab, in which somebody is in the midst of a form.
  const other = new Person("dilan", dilan.context, await dilan.context.newPage(), dilan.way);
  await other.page.goto(dilan.cable.url);
  await other.to("product/new");
  await other.page.getByLabel("Name", { exact: true }).fill("Half a na");
  await other.page.getByLabel("SKU", { exact: true }).fill("KEY-3");

  await world.stopServer();
  world.hasGrown = true;
  await world.startServer();
  // The till of the version before goes on at the new server, and has more to send when it follows.
  expect(await till("sync")).toMatchObject({ sent: 2, applied: 2, verified: true });
  await till(...sale);
  world.devicesHaveGrown = true;
  expect(await till("status")).toMatchObject({ pending: 1 });
  expect(await till("sync")).toMatchObject({ sent: 1, applied: 1, verified: true });
  await deploy(world, "two", await world.grownProgram());
  await page.bringToFront();
  await offered(dilan);
  await page.getByRole("button", { name: "Reload" }).click();
  await shows(dilan, "two");
  await dilan.chip(/Staying offline: \d+ changes? kept on this device/);
  await openTab(page);
  const read = (sql: string): Promise<unknown> =>
    page.evaluate(async (asked) => (await tab.query(asked)).rows, sql);
  const VATS = "SELECT sku, vat, origin FROM product WHERE sku LIKE 'KEY-%' ORDER BY sku";
  expect(await read(VATS)).toEqual([
    ["KEY-1", 20, null],
    ["KEY-2", 20, null],
  ]);

  // The tab of the version before reads on, and writes nothing until it is loaded again.
  await other.page.getByText("Another tab has moved to a new version").waitFor();
  await other.page.getByRole("button", { name: "Later" }).click();
  await other.page.getByRole("button", { name: "Save" }).click();
  await other.page.getByText("this one only shows what is there").waitFor();
  expect(await read("SELECT count(*) FROM product WHERE sku = 'KEY-3'")).toEqual([[0]]);
  await other.page.reload();
  await shows(other, "two");
  await other.page.getByText("Picked up where you left off").waitFor();
  expect(await other.page.getByLabel("Name", { exact: true }).inputValue()).toBe("Half a na");
  await other.page.getByLabel("Name", { exact: true }).fill("Half a name");
  await other.page.getByRole("button", { name: "Save" }).click();
  await other.page.getByRole("heading", { name: "Half a name", level: 1 }).waitFor();

  await page.evaluate(() =>
    tab.write([
      { sql: "INSERT INTO label (id, text) VALUES ('l1', 'Fresh')" },
      { sql: "UPDATE product SET vat = 7, origin = 'Kreta' WHERE sku = 'KEY-1'" },
    ]),
  );
  await dilan.to("saved/device");
  await page.getByRole("switch").uncheck();
  await dilan.chip(/All saved to server/);
  expect(await world.server(VATS)).toEqual([
    ["KEY-1", 7, "Kreta"],
    ["KEY-2", 20, null],
    ["KEY-3", 20, null],
  ]);
  expect(await world.server("SELECT id, text FROM label")).toEqual([["l1", "Fresh"]]);
  expect(await world.server("SELECT quantity FROM movement WHERE kind = 'damage'")).toContainEqual([
    -2,
  ]);
  await dilan.agrees();
  expect(other.errors).toEqual([]);
  expect(await till("sync")).toMatchObject({ verified: true });
  expect(await till("status")).toMatchObject({ pending: 0, stock_differences: 0 });
  const everywhere = [
    "SELECT id, sku, name, vat, origin FROM product ORDER BY id",
    "SELECT id, text FROM label",
    "SELECT m.id, p.sku, m.kind, m.quantity FROM movement AS m JOIN product AS p ON p.id = m.product_id " +
      "WHERE p.sku LIKE 'KEY-%' ORDER BY m.id",
  ];
  const held = await world.tables(path.join(world.folder, "till.db"), everywhere);
  expect(held).toEqual(await world.tables(world.database, everywhere));
  expect(held[0]).toContainEqual([expect.any(String), "LOCK-1", "Lock", 20, null]);
});
