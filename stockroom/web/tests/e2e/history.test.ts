/** What happened to goods and to products is found again: by whom, when, with which note; and a lost name is taken back. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

test("a name that lost is seen and taken back, and movements are looked through", async () => {
  const ada = await world.person("ada", { store: "Harbour Street" });
  const dilan = await world.person("dilan");
  await ada.addProduct("LAMP-1", "Lamp", "12.50");
  await ada.receive("LAMP-1", 24, "DN-4711");
  await dilan.open("LAMP-1");
  await dilan.onHand(24);
  await dilan.page.getByText("Changes", { exact: true }).waitFor({ state: "detached" });

  // One's own entries are one's own, whatever one is called; who manages the store sees everybody's.
  await ada.to("today");
  const mine = (page: typeof ada.page) =>
    page.getByRole("region", { name: "Your last entries" }).locator("li.entry");
  await expect_(mine(ada.page), /Lamp.*DN-4711/s);
  await expect_(ada.page.locator("[data-done]"), /Ada Marsh\s*24 came in · last at/);
  await dilan.addProduct("SHADE-1", "Shade", "4.00");
  await dilan.receive("SHADE-1", 3, "DN-9");
  await dilan.to("today");
  await expect_(mine(dilan.page), /Shade.*DN-9/s);
  expect(await mine(dilan.page).filter({ hasText: "DN-4711" }).count()).toBe(0);
  expect(await dilan.page.locator("[data-done]").count()).toBe(0);
  await dilan.open("LAMP-1");

  // Both name it without knowing of the other; Ada is earlier, and comes later.
  ada.cable.pull();
  await ada.edit("LAMP-1", { Name: "Lamp of Ada" });
  await dilan.edit("LAMP-1", { Name: "Lamp of Dilan" });
  await dilan.chip(/All saved/);
  await ada.backOnline();
  await ada.open("LAMP-1");
  const rows = ada.page.locator("[data-changes] li");
  await expect_(rows.filter({ hasText: "Did not count" }), /Lamp of Ada.*ada/is);
  await expect_(rows.filter({ hasNotText: "Did not count" }), /Lamp .*Lamp of Dilan.*dilan/is);
  await ada.page.getByRole("button", { name: "Go back to Lamp of Ada" }).click();
  await ada.page.getByRole("heading", { name: "Lamp of Ada", level: 1 }).waitFor();
  await dilan.page.getByRole("heading", { name: "Lamp of Ada", level: 1 }).waitFor();

  // The ledger of the product, of one sort, and all that happened.
  const { page } = ada;
  await page.getByRole("button", { name: "Sold", exact: true }).click();
  await page.getByText("Nothing fits this").waitFor();
  await page.getByRole("link", { name: "Look through" }).click();
  await expect_(page.locator("[data-movements] li"), /Lamp of Ada.*DN-4711/s);
  await page.getByRole("button", { name: "Show everything" }).click();
  await page.getByLabel("Goods, or a delivery note").fill("dn-47");
  await expect_(page.getByRole("status").filter({ hasText: "entr" }), /1 entry/);
  const who = page.getByLabel("Who");
  const called = async (name: RegExp): Promise<string> =>
    (await who.locator("option", { hasText: name }).first().getAttribute("value")) ?? "";
  await who.selectOption(await called(/^dilan/i));
  await page.getByText("Nothing fits this").waitFor();
  await who.selectOption(await called(/^ada/i));
  await expect_(page.locator("[data-movements] li"), /DN-4711/);
  await page.getByLabel("Until").fill("2020-01-01");
  await page.getByText("Nothing fits this").waitFor();

  // On a wide screen stock is a table: of one category, in the order of a column, row by row with the arrows.
  await page.setViewportSize({ width: 1366, height: 900 });
  await ada.to("stock");
  await page.getByRole("button", { name: "Clear the search" }).click();
  const count = page.locator(".count");
  await expect_(count, /\d+ products/);
  await page.getByRole("button", { name: /^Kitchen/ }).click();
  await expect_(count, /\d+ found/);
  await page.getByRole("button", { name: "On hand" }).click();
  await page
    .getByRole("columnheader", { name: "On hand" })
    .and(page.locator("[aria-sort=ascending]"))
    .waitFor();
  await page.getByRole("button", { name: "On hand" }).click();
  await page
    .getByRole("columnheader", { name: "On hand" })
    .and(page.locator("[aria-sort=descending]"))
    .waitFor();
  await page.locator('[data-row="1"]').waitFor();
  await page.locator('[data-row="0"]').focus();
  await page.keyboard.press("ArrowDown");
  await expect_(page.locator("a:focus"), /./);
  expect(await page.locator("a:focus").getAttribute("data-row")).toBe("1");
  await page.keyboard.press("Enter");
  await page.locator("[data-on-hand]").waitFor();
  await page.setViewportSize({ width: 390, height: 844 });
  expect(ada.errors).toEqual([]);
  await ada.agrees();
  await dilan.agrees();
});
