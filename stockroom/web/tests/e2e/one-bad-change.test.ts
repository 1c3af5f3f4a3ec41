/**
 * One change among five hundred that the server refuses: the others land, and the one is explained.
 *
 * Checks I27.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_, type Page } from "../support/browser.js";
import { openTab } from "../support/tab.js";
import { type Person, World } from "../support/world.js";

const GOOD = 499;

let world: World;
let ada: Person;
let mira: Person;
beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
  mira = await world.person("mira");
});
afterAll(() => world.close());

/** So many receipts like the one there is, each a transaction of its own. */
async function receiveAgain(page: Page, document: string, count: number): Promise<void> {
  await page.evaluate(
    async ([like, times]) => {
      const columns =
        "product_id, location_id, store_id, quantity, kind, person, device, occurred_at";
      const sql =
        `INSERT INTO movement (id, ${columns}) SELECT ?, ${columns} FROM movement ` +
        "WHERE document = ?";
      const one = (): Promise<unknown> => tab.write([{ sql, params: [tab.newId(), like] }]);
      await Promise.all(Array.from({ length: times }, one));
    },
    [document, count] as const,
  );
}

test("499 land and 1 is explained, can be mended, and holds nobody up", async () => {
  const { page } = mira;
  await mira.addProduct("BOX-1", "Small box", "1.00");
  await mira.addProduct("BOX-2", "Large box", "2.00");
  await mira.chip(/All saved to server/);

  mira.cable.pull();
  await mira.receive("BOX-1", 1, "B-1");
  await openTab(page);
  await receiveAgain(page, "B-1", 249);
  // The one that cannot be: meanwhile somebody else gives this SKU to another product.
  await mira.edit("BOX-2", { SKU: "BOX-3", Price: "2.20", Currency: "GBP" });
  await receiveAgain(page, "B-1", GOOD - 250);
  await mira.chip(/: \d+ changes? kept on this device/);
  await ada.addProduct("BOX-3", "Huge box", "3.00");
  await ada.chip(/All saved to server/);

  await mira.backOnline();
  await mira.chip(/^ *1 needs you/);
  await ada.open("BOX-1");
  await ada.onHand(GOOD);
  expect(
    await world.server(
      "SELECT count(*), sum(m.quantity) FROM movement AS m JOIN product AS p ON p.id = m.product_id " +
        "WHERE p.sku = 'BOX-1'",
    ),
  ).toEqual([[GOOD, GOOD]]);

  // It says what is wrong in words, with both values, and how to go on.
  await mira.to("needs");
  const card = page.locator("[data-refused]");
  await expect_(card, /Another product has this SKU already/);
  await expect_(card, /Large box/);
  const words = (await card.textContent()) ?? "";
  expect(words).toMatch(/BOX-3\s*was BOX-2/);
  expect(words).toMatch(/£2\.20\s*was €2\.00/);
  expect(words).not.toMatch(/unique|constraint|[0-9a-f]{8}-[0-9a-f]{4}/i);

  // Trying again is no use as long as the reason is there, and says so; another SKU goes through.
  await card.getByRole("button", { name: "Try again" }).click();
  await page.getByText("Something else has this value already. Nothing was changed.").waitFor();
  await card.getByLabel("Another SKU").fill("BOX-4");
  await page.reload();
  await card.waitFor();
  expect(await card.getByLabel("Another SKU").inputValue()).toBe("BOX-4");
  await card.getByRole("button", { name: "Use it" }).click();
  await mira.chip(/All saved to server/);
  await ada.open("BOX-4");
  await expect_(ada.page.getByRole("heading", { level: 1 }), /Large box/);
  await mira.to("needs");
  await page.getByText("Nothing needs you").waitFor();
  const kept = await page.evaluate(() => Object.keys(localStorage));
  expect(kept.filter((name) => /draft/.test(name))).toEqual([]);
  await mira.agrees();
});

test("a new product whose SKU is taken gets another one, and what was received of it goes with it", async () => {
  const { page } = mira;
  mira.cable.pull();
  await mira.to("product/new");
  await page.getByLabel("Name", { exact: true }).fill("Wooden peg");
  await page.getByLabel("SKU", { exact: true }).fill("PEG-2");
  await page.getByLabel("Price", { exact: true }).fill("0.40");
  await page.getByLabel("Barcode", { exact: true }).fill("4000000000099");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Wooden peg", level: 1 }).waitFor();
  await mira.receive("PEG-2", 5, "P-1");
  await mira.adjustTo("PEG-2", 4);
  await ada.addProduct("PEG-1", "Plastic peg", "0.20");
  await ada.edit("PEG-1", { SKU: "PEG-2" });
  await ada.chip(/All saved to server/);
  await mira.backOnline();
  // Whatever was done with it since is no question of its own, wherever it is counted.
  await mira.chip(/^ *1 needs you/);
  await mira.to("today");
  await page.getByText("1 change the server did not take").waitFor();
  expect(await page.locator("nav .dot").allTextContents()).toContain("1");

  // What waits for it cannot go alone, and says so in plain words.
  await mira.to("needs");
  await page.locator("details[data-behind] summary").first().click();
  const held = page.locator("[data-refused]").filter({ hasText: "Waits for a refused change" });
  await held.first().getByRole("button", { name: "Try again" }).click();
  await page.getByText("It refers to something that no longer exists").waitFor();
  const card = page.locator("[data-refused]").filter({ hasText: "Another product has this SKU" });
  await card.getByLabel("Another SKU").fill("PEG-3");
  await card.getByRole("button", { name: "Use it" }).click();
  await mira.chip(/All saved to server/);
  await page.getByText("Nothing needs you").waitFor();
  const stored =
    "SELECT p.name, p.price, b.code, sum(m.quantity) FROM product AS p JOIN movement AS m " +
    "ON m.product_id = p.id LEFT JOIN barcode AS b ON b.product_id = p.id WHERE p.sku = 'PEG-3'";
  expect(await world.server(stored)).toEqual([["Wooden peg", 40, "4000000000099", 4]]);
  await ada.open("PEG-3");
  await ada.onHand(4);
  await mira.agrees();
});

test("a new product that turns out to be one that is there becomes that one, with all that was done", async () => {
  const { page } = mira;
  mira.cable.pull();
  await mira.to("product/new");
  await page.getByLabel("Name", { exact: true }).fill("Assam tea, loose");
  await page.getByLabel("SKU", { exact: true }).fill("CHAI-1");
  await page.getByLabel("Price", { exact: true }).fill("4.50");
  await page.getByLabel("Barcode", { exact: true }).fill("4000000000105");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Assam tea, loose", level: 1 }).waitFor();
  await mira.receive("CHAI-1", 10, "C-1");
  await mira.adjustTo("CHAI-1", 8);
  await mira.edit("CHAI-1", { Shelf: "B4" });
  await ada.addProduct("CHAI-1", "Assam", "4.00");
  await ada.edit("CHAI-1", { Notes: "from Assam" });
  await ada.receive("CHAI-1", 5);
  await ada.chip(/All saved to server/);
  await mira.backOnline();
  await mira.chip(/^ *1 needs you/);

  await mira.to("needs");
  const card = page.locator("[data-refused]").filter({ hasText: "Another product has this SKU" });
  const same = card.locator("[data-same]");
  await expect_(same, /Or is it Assam, which has this SKU\?/);
  const words = (await same.textContent()) ?? "";
  expect(words).toContain("name: Assam tea, loose instead of Assam");
  expect(words).toContain("price: €4.50 instead of €4.00");
  await same.getByRole("button", { name: "It is the same product" }).click();
  await mira.chip(/All saved to server/);
  await page.getByText("Nothing needs you").waitFor();
  const stored =
    "SELECT p.name, p.price, p.shelf, p.notes, b.code, sum(m.quantity), count(*) FROM product AS p " +
    "JOIN movement AS m ON m.product_id = p.id LEFT JOIN barcode AS b ON b.product_id = p.id " +
    "WHERE p.sku = 'CHAI-1'";
  expect(await world.server(stored)).toEqual([
    ["Assam tea, loose", 450, "B4", "from Assam", "4000000000105", 13, 3],
  ]);
  await ada.open("CHAI-1");
  await ada.onHand(13);
  await mira.agrees();
});
