/** The same form in two tabs is one form: neither loses what was typed, and nothing is done twice. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_, until } from "../support/browser.js";
import { Person, World } from "../support/world.js";

let world: World;
let one: Person;
let other: Person;
beforeAll(async () => {
  world = await World.make();
  one = await world.person("mira");
  await one.addProduct("BAG-1", "Bag", "4.00");
  await one.chip(/All saved to server/);
  other = new Person("mira", one.context, await one.context.newPage(), one.way);
  await other.page.goto(other.cable.url);
  await other.page.getByRole("searchbox").waitFor();
});
afterAll(() => world.close());

const field = (person: Person, label: string) => person.page.getByLabel(label, { exact: true });

function shows(person: Person, label: string, value: string): Promise<void> {
  return until(
    `${label} is ${value}`,
    async () => (await field(person, label).inputValue()) === value,
  );
}

async function openForm(person: Person, sku: string): Promise<void> {
  await person.open(sku);
  await person.page.getByRole("link", { name: "Edit" }).click();
  await field(person, "Name").waitFor();
}

test("an edited product: both tabs are told, show the same, and one save settles it", async () => {
  await openForm(one, "BAG-1");
  await field(one, "Price").fill("4.50");
  await openForm(other, "BAG-1");
  for (const person of [one, other])
    await person.page.getByText("This form is open in another tab too").waitFor();
  await shows(other, "Price", "4.50");

  // Each tab types into another field; neither takes back what the other has typed.
  await field(other, "Shelf").fill("B2");
  await shows(one, "Shelf", "B2");
  await field(one, "Unit").fill("box");
  await field(other, "Price").fill("4.60");
  await shows(one, "Price", "4.60");
  await shows(other, "Unit", "box");

  await one.page.getByRole("button", { name: "Save" }).click();
  await one.page.locator("[data-on-hand]").waitFor();
  await other.page.getByText("Saved or given up in another tab").waitFor();
  await shows(other, "Price", "4.60");
  await one.chip(/All saved to server/);
  // The other goes on from what is stored, and nobody is asked.
  await field(other, "Price").fill("4.70");
  await other.page.getByRole("button", { name: "Save" }).click();
  await other.page.locator("[data-on-hand]").waitFor();
  await other.chip(/All saved to server/);
  expect(await world.server("SELECT price, shelf, unit FROM product WHERE sku = 'BAG-1'")).toEqual([
    [470, "B2", "box"],
  ]);
});

test("what two tabs type in the same moment is all kept", async () => {
  for (const person of [one, other]) await openForm(person, "BAG-1");
  for (let round = 1; round <= 8; round++) {
    await Promise.all([
      field(one, "Unit").fill(`box ${round}`),
      field(other, "Price").fill(`5.0${round}`),
    ]);
    await Promise.all([
      field(one, "Shelf").fill(`C${round}`),
      field(other, "Notes").fill(`${round} left`),
    ]);
    for (const person of [one, other]) {
      await shows(person, "Unit", `box ${round}`);
      await shows(person, "Price", `5.0${round}`);
      await shows(person, "Shelf", `C${round}`);
      await shows(person, "Notes", `${round} left`);
    }
  }
  await other.page.getByRole("button", { name: "Save" }).click();
  await other.page.locator("[data-on-hand]").waitFor();
  await one.page.getByText("Saved or given up in another tab").waitFor();
  await other.chip(/All saved to server/);
  expect(
    await world.server("SELECT price, shelf, unit, notes FROM product WHERE sku = 'BAG-1'"),
  ).toEqual([[508, "C8", "box 8", "8 left"]]);
  await one.page.getByRole("button", { name: "Cancel" }).click();
});

test("a new product is added once; one that begins with another code is another one", async () => {
  await one.to("product/new");
  await other.to("product/new");
  await field(one, "Name").fill("Basket");
  await field(one, "SKU").fill("BAG-2");
  await shows(other, "SKU", "BAG-2");
  const third = new Person("mira", one.context, await one.context.newPage(), one.way);
  await third.page.goto(`${third.cable.url}/#/product/new?barcode=4000000000013`);
  await field(third, "Name").fill("Box");
  await shows(one, "Name", "Basket");
  await one.page.getByRole("button", { name: "Save" }).click();
  await one.page.locator("[data-on-hand]").waitFor();
  await shows(other, "SKU", "");
  expect(await field(third, "Name").inputValue()).toBe("Box");
  await third.page.reload();
  await third.page.getByText("Picked up where you left off").waitFor();
  expect(await field(third, "Name").inputValue()).toBe("Box");
  await third.page.getByRole("button", { name: "Cancel" }).click();
  await third.page.close();
});

test("a shipment is one list, and is received once", async () => {
  for (const person of [one, other]) await person.to("receive");
  for (const person of [one, other])
    await person.page.getByText("This list is open in another tab too").waitFor();
  for (const [person, sku] of [
    [one, "BAG-1"],
    [other, "BAG-2"],
  ] as const) {
    await person.page.getByLabel("Scan, or search for a product").fill(sku);
    await person.page.getByRole("button", { name: sku }).first().click();
    for (const tab of [one, other]) await tab.page.locator("ul").getByText(sku).waitFor();
  }
  await other.page.getByRole("button", { name: "Receive 2 units" }).click();
  await other.page.getByText("Received 2 units").waitFor();
  await expect_(one.page.locator("main"), /Scan the first item/);
  await one.chip(/All saved to server/);
  expect(await world.server("SELECT count(*) FROM movement WHERE document = '' AND kind = 'receive' AND product_id IN (SELECT id FROM product WHERE sku LIKE 'BAG-%')")).toEqual([[2]]); // prettier-ignore
  for (const person of [one, other]) await person.agrees();
});
