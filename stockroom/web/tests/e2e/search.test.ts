/** Searching as people do it: in a hurry, with slips, by the last digits of a code. */

import { execFileSync } from "node:child_process";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

let world: World;
let ada: Person;

beforeAll(async () => {
  world = await World.make({ movements: "9000" });
  ada = await world.person("ada", { store: "Harbour Street" });
});
afterAll(() => world.close());

/** What the list shows for exactly what is typed, once it is there. */
async function found(typed: string): Promise<string[]> {
  const { page } = ada;
  await page.getByRole("searchbox").fill(typed);
  const list = page.locator(`[data-shown="${typed}"]`);
  await list.waitFor();
  return await list.locator("li .name").allTextContents();
}

test("a slip of the finger finds what was meant, and says so", async () => {
  await ada.to("stock");
  const names = await found("enmael mug");
  expect(names.length).toBeGreaterThan(2);
  expect(names.every((name) => /enamel/i.test(name) && /mug/i.test(name))).toBe(true);
  await expect_(ada.page.locator(".count"), /Nothing is called that; \d+ come near/);
  expect(await found("zzzzzz")).toEqual([]);
  await ada.page.getByText("Nothing found").waitFor();
});

test("a whole code comes first, then the beginning of a name; the last digits are enough", async () => {
  await ada.addProduct("SOAP", "Dish for soap", "1.00");
  await ada.to("stock");
  const soaps = await found("soap");
  expect(soaps[0]).toBe("Dish for soap");
  expect(soaps.length).toBeGreaterThan(3);
  expect(soaps.slice(1).every((name) => name.startsWith("Soap"))).toBe(true);
  const [enamel] = await found("2000000000015");
  expect(enamel).toMatch(/^Enamel mug/);
  expect(await found("0000015")).toEqual([enamel]);
});

test("goods are found by their shelf, their supplier and the note that they came with", async () => {
  await ada.addProduct("SHELF-1", "Brass bell", "9.00");
  await ada.edit("SHELF-1", { Shelf: "Q9-4" });
  await ada.receive("SHELF-1", 2, "LN-2041");
  await ada.to("stock");
  expect(await found("q9-4")).toEqual(["Brass bell"]);
  expect(await found("bell q9")).toEqual(["Brass bell"]);
  expect(await found("ln-2041")).toEqual(["Brass bell"]);
  const supplied =
    "SELECT s.name, count(*) FROM supplier s JOIN product p ON p.supplier_id = s.id " +
    "WHERE p.archived = 0 AND s.name LIKE '% %' GROUP BY 1 ORDER BY 2 LIMIT 1";
  const [[supplier, count] = []] = await world.server(supplied);
  expect(await found(String(supplier))).toHaveLength(Number(count));
});

test("what is typed after a product was added knows its words", async () => {
  await ada.addProduct("LAMP", "Hurricane lantern", "20.00");
  await ada.to("stock");
  expect(await found("hurricaen")).toEqual(["Hurricane lantern"]);
});

test("a long ledger shows its newest entries, and older ones on wish, to the last", async () => {
  const busiest =
    "SELECT p.sku, count(*) FROM movement AS m JOIN product AS p ON p.id = m.product_id " +
    "WHERE m.store_id = '1' GROUP BY p.sku ORDER BY 2 DESC LIMIT 1";
  const [sku = "", count = "0"] = execFileSync(
    process.env["STOCKROOM_PYTHON"] ?? path.resolve("../../.venv/bin/python"),
    [
      "-c",
      "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())",
      path.join(world.folder, "shop.db"),
      busiest,
    ],
    { encoding: "utf8" },
  )
    .trim()
    .split(" ");
  await ada.open(sku);
  const entries = ada.page.locator("li.entry");
  const older = ada.page.getByRole("button", { name: "Show older entries" });
  expect(Number(count)).toBeGreaterThan(100);
  for (let shown = 50; shown < Number(count); shown += 50) {
    await entries.nth(shown - 1).waitFor();
    expect(await entries.count()).toBe(shown);
    await older.click();
  }
  await entries.nth(Number(count) - 1).waitFor();
  await older.waitFor({ state: "detached" });
  expect(await entries.count()).toBe(Number(count));
});
