/** Two products for the same goods, made apart: a person makes them one, with both histories, and can take it back. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Barriers } from "../support/barriers.js";
import { expect_ } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

let world: World;
let ada: Person;
let mira: Person;
beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
  mira = await world.person("mira");
});
afterAll(() => world.close());

const CODE = "5000000000012";

async function newGoods(person: Person, sku: string, name: string, price: string): Promise<void> {
  await person.to(`product/new?barcode=${CODE}`);
  await person.page.getByLabel("Name", { exact: true }).fill(name);
  await person.page.getByLabel("SKU", { exact: true }).fill(sku);
  await person.page.getByLabel("Price", { exact: true }).fill(price);
  await person.page.getByRole("button", { name: "Save" }).click();
  await person.page.getByRole("heading", { name, level: 1 }).waitFor();
}

/** Search for it, and open what is found. */
async function find(person: Person, typed: string, found: string): Promise<void> {
  await person.to("stock");
  await person.page.getByRole("searchbox").fill(typed);
  await person.page.getByRole("link", { name: found }).first().click();
  await person.page.locator("[data-on-hand]").waitFor();
}

test("one barcode on two products: the same goods are made one, and parted again", async () => {
  ada.cable.pull();
  mira.cable.pull();
  // Typed as it is written on the box there, and not known yet here.
  await newGoods(ada, "UMB-1", "Umbrella black", "1.234,50 €");
  await ada.page.getByText("€1,234.50").first().waitFor();
  await ada.receive("UMB-1", 4);
  await newGoods(mira, "UMB-BLK", "Schirm schwarz", "");
  await mira.page.getByText("no price yet").first().waitFor();
  await mira.receive("UMB-BLK", 10);
  await ada.backOnline();
  await ada.chip(/All saved to server/);
  await mira.backOnline();
  await mira.chip(/1 needs you/);
  await mira.to("needs");
  const card = mira.page.locator("[data-conflict=code]");
  await expect_(card, /Umbrella black/);
  const words = (await card.textContent()) ?? "";
  for (const part of ["Schirm schwarz", "UMB-1", "UMB-BLK", "no price yet", "€1,234.50", CODE])
    expect(words).toContain(part);
  expect(words).not.toMatch(/[0-9a-f]{8}-/);
  mira.cable.pull();
  await card.getByRole("radio", { name: /Umbrella black stays/ }).check();
  await card.getByRole("button", { name: "Make them one" }).click();
  await card.waitFor({ state: "detached" });
  await find(mira, "UMB-BLK", "UMB-1");
  await expect_(mira.page.getByRole("heading", { level: 1 }), /Umbrella black/);
  await mira.onHand(14);
  await mira.backOnline();
  await mira.chip(/All saved to server/);
  for (const person of [ada, mira]) {
    await find(person, "schirm", "UMB-1");
    await person.onHand(14);
    await person.page.locator("[data-same=UMB-BLK]").waitFor();
  }
  // What is scanned of either is the one; and taken back, each is what it was.
  await ada.to("scan");
  await ada.scan(CODE);
  await ada.page.getByText("Umbrella black").first().waitFor();
  await ada.open("UMB-1");
  await ada.page.getByRole("button", { name: /^Take back: Schirm schwarz/ }).click();
  await ada.onHand(4);
  await ada.chip(/All saved to server/);
  await mira.open("UMB-BLK");
  await expect_(mira.page.getByRole("heading", { level: 1 }), /Schirm schwarz/);
  await mira.onHand(10);
  for (const person of [ada, mira]) await person.agrees();
});

test("a product's page offers to make it one with another, and takes it back at once", async () => {
  const { page } = ada;
  const barriers = new Barriers(page);
  await ada.addProduct("LAMP-1", "Lamp, oak", "30.00");
  await ada.receive("LAMP-1", 3);
  await ada.addProduct("LAMP-2", "Oak lamp", "29.00");
  await ada.receive("LAMP-2", 2);
  await ada.open("LAMP-2");
  const card = page.locator("[data-same-as]");
  await card.getByRole("button", { name: "Find the other one" }).click();
  const find = card.getByLabel("Scan, or search for a product");
  await find.fill("LAMP-2");
  await card.getByRole("button", { name: "LAMP-2" }).click();
  await card.getByText("That is this product").waitFor();
  await find.fill("LAMP-1");
  await card.getByRole("button", { name: "LAMP-1" }).click();
  await card.getByText(/^5 on hand together/).waitFor();
  await barriers.look("the same goods as another");
  await card.getByRole("radio", { name: /Lamp, oak stays/ }).check();
  await card.getByRole("button", { name: "Make them one" }).click();
  await page.getByRole("heading", { name: "Lamp, oak", level: 1 }).waitFor();
  await ada.onHand(5);
  await page.getByRole("button", { name: "Undo", exact: true }).click();
  await ada.onHand(3);
  await ada.chip(/All saved to server/);
  // Who may not decide it is told who may.
  const dilan = await world.person("dilan");
  await dilan.open("LAMP-1");
  await expect_(dilan.page.locator("[data-same-as]"), /Managers only|Ask/);
  expect(barriers.found).toEqual({});
  await ada.agrees();
});
