/** What a role may do: offered where it will be taken, and told whom to ask where it will not; offline, too. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

/** The server has one row that says so, once it has been told. */
const stands = (sql: string, row: readonly unknown[]): Promise<void> =>
  expect.poll(() => world.server(sql), { timeout: 30_000 }).toEqual([row]);

test("an owner says who may do what, and each device offers just that", async () => {
  const ada = await world.person("ada", { store: "Harbour Street" });
  const dilan = await world.person("dilan");
  await ada.addProduct("PEAR-1", "Pear tin", "2.10");
  await ada.chip(/All saved to server/);
  await ada.page.goto(`${ada.cable.url}/#/stock`);
  const id = (await world.server("SELECT id FROM product WHERE sku = 'PEAR-1'"))[0]?.[0];

  // An employee: no cost, and a price that is somebody else's.
  await dilan.page.goto(`${dilan.cable.url}/#/product/${String(id)}/edit`);
  const price = dilan.page.getByLabel("Price", { exact: true });
  await price.waitFor();
  expect(await price.isDisabled()).toBe(true);
  await dilan.page.getByText("Managers only. Ask Mira Sato to change prices and units.").waitFor();
  expect(await dilan.page.getByLabel("Cost").count()).toBe(0);
  await dilan.page.goto(`${dilan.cable.url}/#/shop`);
  await dilan.page.getByText("The owner only").waitFor();

  // The owner's form has a cost; the shop's settings have the rest.
  await ada.page.goto(`${ada.cable.url}/#/product/${String(id)}/edit`);
  await ada.page.getByLabel("Cost").fill("1.15");
  await ada.page.getByRole("button", { name: "Save" }).click();
  await ada.chip(/All saved to server/);
  await stands(
    "SELECT p.cost, c.cost FROM product p JOIN product_cost c ON c.product_id = p.id WHERE p.sku = 'PEAR-1'",
    [null, 115],
  );
  await ada.page.goto(`${ada.cable.url}/#/shop`);
  await ada.page.getByLabel("Employee: change prices and units").check();
  await ada.page.getByLabel("Employee: sell").uncheck();
  await ada.page.getByLabel("Employee: undo what others have booked").uncheck();
  await ada.page.getByLabel("Name of the shop").fill("  ");
  await ada.page.getByRole("button", { name: "Save" }).click();
  await ada.page.getByText("It needs a name.").waitFor();
  await ada.page.getByLabel("Name of the shop").fill("Lantern & Söhne");
  await ada.page.getByRole("button", { name: "Save" }).click();
  await ada.page.getByLabel("Add a store").fill("Pier 5");
  await ada.page.locator("[data-store='']").getByRole("button", { name: "Save" }).click();
  await ada.chip(/All saved to server/);
  await stands("SELECT name FROM shop", ["Lantern & Söhne"]);
  await stands("SELECT count(*) FROM store WHERE name = 'Pier 5'", [1]);

  // It holds on the other device, and without a connection as well.
  await dilan.page.goto(`${dilan.cable.url}/#/scan`);
  await dilan.page.getByRole("button", { name: "Sold" }).click();
  await dilan.page.getByText("Managers only. Ask Mira Sato to sell.").waitFor();
  await dilan.page.goto(`${dilan.cable.url}/#/product/${String(id)}/edit`);
  await expect_(dilan.page.locator("form"), /Price/);
  await dilan.page.locator("input:not([disabled])[inputmode=decimal]").first().waitFor();
  dilan.cable.pull();
  await price.fill("2.40");
  await dilan.page.getByRole("button", { name: "Save" }).click();
  await dilan.page.goto(`${dilan.cable.url}/#/scan`);
  await dilan.page.getByText("Managers only. Ask Mira Sato to sell.").waitFor();
  dilan.cable.plug();
  await dilan.chip(/All saved to server/);
  await stands("SELECT price FROM product WHERE sku = 'PEAR-1'", [240]);
  expect([...ada.errors, ...dilan.errors]).toEqual([]);
});

test("nobody is offered to add goods, or to receive, who may not", async () => {
  const ada = await world.person("ada", { store: "Harbour Street" });
  const dilan = await world.person("dilan");
  const { page } = dilan;
  const add = page.getByRole("link", { name: /^(New|Add) product$/ });
  const receive = page.locator("main a[href='#/receive']");
  const asks = page.getByText("Managers only. Ask Mira Sato to add products.");
  await dilan.to("today");
  await add.waitFor();
  await receive.first().waitFor();
  await ada.page.goto(`${ada.cable.url}/#/shop`);
  await ada.page.getByLabel("Employee: add products").uncheck();
  await ada.page.getByLabel("Employee: receive deliveries").uncheck();
  await ada.chip(/All saved to server/);
  for (const gone of [add, receive]) await gone.waitFor({ state: "detached" });
  await page.locator("main a[href='#/scan']").waitFor();

  await dilan.to("stock");
  const search = page.getByRole("searchbox");
  await search.fill("qqqqqqqq");
  await page.getByText("Nothing found").waitFor();
  expect(await add.count()).toBe(0);
  await search.fill("");
  await page.locator("[data-shown='']").waitFor();
  // A scan leads to what can be done about it, and that is to ask.
  await page.locator("main").click({ position: { x: 5, y: 5 } });
  await dilan.scan("4006381333931");
  await page.getByText("No product has the code 4006381333931").waitFor();
  await asks.waitFor();
  expect(await page.getByRole("link", { name: "Add it as a new product" }).count()).toBe(0);
  await dilan.to("product/new");
  await asks.waitFor();
  expect(await page.getByLabel("Price").count()).toBe(0);
  await dilan.to("work");
  await page.getByText("Managers only. Ask Mira Sato to receive deliveries.").waitFor();
  expect(await receive.count()).toBe(0);
  expect([...ada.errors, ...dilan.errors]).toEqual([]);
});

test("Today has figures for who manages the store, and what each has begun", async () => {
  const [mira, dilan] = [await world.person("mira"), await world.person("dilan")];
  const lost = mira.page.locator("[data-figure=lost]");
  await mira.to("today");
  await expect_(mira.page.locator("[data-figure=worth]"), /^€\d+,\d{3}$/);
  const begun = mira.page.getByRole("link", { name: /^Go on: / });
  await mira.page.getByRole("heading", { name: "To do today" }).waitFor();
  expect(await begun.count()).toBe(0);
  await mira.addProduct("GLASS-1", "Storm glass", "12.00");
  await mira.edit("GLASS-1", { Cost: "4.25" });
  await mira.receive("GLASS-1", 6, "G-1");
  await mira.open("GLASS-1");
  await mira.to("today");
  const before = await lost.innerText();
  await mira.open("GLASS-1");
  await mira.page.getByRole("link", { name: "Adjust" }).click();
  await mira.page.getByLabel("What you see on the shelf").fill("4");
  await mira.page.getByLabel(/Damaged/).check();
  await mira.page.getByRole("button", { name: /^Record/ }).click();
  await mira.page.getByText(/Recorded .* saved on this device/).waitFor();
  await mira.to("today");
  // Two that cost 4.25 each.
  await expect.poll(() => lost.innerText()).not.toBe(before);
  await lost.click();
  await mira.page.getByText("Storm glass").first().waitFor();

  // A delivery that was begun is to be done by whoever began it.
  await mira.to("receive");
  await mira.page.getByLabel("Scan, or search for a product").fill("GLASS-1");
  await mira.page.getByRole("button", { name: "GLASS-1" }).first().click();
  await mira.page.getByRole("spinbutton").first().waitFor();
  await mira.page.getByLabel("Delivery note").fill("G-2");
  await mira.page.getByLabel("Delivery note").press("Enter");
  await mira.to("today");
  await begun.waitFor();
  await begun.click();
  await mira.page.getByRole("spinbutton").first().waitFor();
  await mira.chip(/All saved to server/);
  await dilan.to("today");
  await dilan.page.getByRole("heading", { name: "To do today" }).waitFor();
  await dilan.page.getByText("Nothing is due").waitFor();
  expect(await dilan.page.locator("[data-figures]").count()).toBe(0);
  expect([...mira.errors, ...dilan.errors]).toEqual([]);
});
