/** A SKU that is written otherwise than another: asked about at its field, and where two devices meet. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Barriers } from "../support/barriers.js";
import { expect_ } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

let world: World;
let ada: Person;
beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
  await ada.addProduct("MUG-1", "Enamel mug", "8.50");
});
afterAll(() => world.close());

test("the form asks at the field, leads to the other, and keeps what was typed", async () => {
  const { page } = ada;
  const barriers = new Barriers(page);
  await ada.to("product/new");
  await page.getByLabel("Name", { exact: true }).fill("Cup");
  await page.getByLabel("SKU", { exact: true }).fill("ｍug - 1");
  await page.getByText("MUG-1 is there already: open it, or choose another").waitFor();
  await barriers.look("a SKU that is there");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("link", { name: "Open MUG-1, Enamel mug" }).click();
  await page.getByRole("heading", { name: "Enamel mug", level: 1 }).waitFor();
  await page.goBack();
  await expect_(page.locator("form"), /Cup|MUG-1 is there already/);
  expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("Cup");
  await page.getByLabel("SKU", { exact: true }).fill("  MUG   9 ");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Cup", level: 1 }).waitFor();
  await ada.chip(/All saved to server/);
  expect(await world.server("SELECT sku FROM product WHERE name = 'Cup'")).toEqual([["MUG 9"]]);
  expect(barriers.found).toEqual({});
});

test("new goods of a shipment are counted as those that are there, and their code is known", async () => {
  const { page } = ada;
  const barriers = new Barriers(page);
  await ada.to("receive?new=2000000004112");
  await page.getByLabel("Name", { exact: true }).fill("Mug");
  await page.getByLabel("How many").fill("7");
  await page.getByLabel("SKU", { exact: true }).fill("mug1-");
  await page.getByLabel("SKU", { exact: true }).fill("mug-1");
  await page.getByText("MUG-1 is there already: open it, or choose another").waitFor();
  await barriers.look("new goods that are there");
  await page.getByRole("button", { name: "It is Enamel mug: count it" }).click();
  await page.getByRole("button", { name: "Receive 7 units" }).waitFor();
  await ada.scan("2000000004112");
  await page.getByRole("button", { name: "Receive 8 units" }).click();
  await page.getByText(/Received 8 units/).waitFor();
  await ada.open("MUG-1");
  await ada.onHand(8);
  expect(barriers.found).toEqual({});
});

test("two devices without a connection: who comes second is asked, and it may be the same", async () => {
  const { page } = ada;
  const mira = await world.person("mira");
  ada.cable.pull();
  await mira.addProduct("JUG-1", "Milk jug", "12.00");
  await mira.chip(/All saved to server/);
  await ada.addProduct("jug-1", "Jug", "12.00");
  await ada.receive("jug-1", 5);
  await ada.backOnline();
  await ada.to("needs");
  const card = page.locator("[data-refused]").filter({ hasText: "It is the same product" });
  await card.waitFor();
  await card.getByLabel("Another SKU").fill("Jug -1");
  await card.getByRole("button", { name: "Use it" }).click();
  await card.getByText("JUG-1 is there already: Milk jug").waitFor();
  await card.getByRole("button", { name: "It is the same product" }).click();
  await page.getByText("Nothing needs you").waitFor();
  await ada.open("JUG-1");
  await ada.onHand(5);
  await ada.agrees();
});
