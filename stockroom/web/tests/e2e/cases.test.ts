/** A case that is scanned counts its pieces, on every screen that counts; it is taken back whole. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Barriers } from "../support/barriers.js";
import { expect_, until } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

const [PIECE, CASE] = ["4006381333931", "14006381333938"];
let world: World;
let ada: Person;
beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
});
afterAll(() => world.close());

const told = (words: RegExp): Promise<void> => expect_(ada.page.locator("[data-case]"), words);
const shows = (label: string, value: string): Promise<void> =>
  until(`${label}: ${value}`, async () => {
    return (await ada.page.getByLabel(label, { exact: true }).inputValue()) === value;
  });

test("what is in a case is said in the form, and asked where its number tells that it is one", async () => {
  const { page } = ada;
  const barriers = new Barriers(page);
  await ada.to(`product/new?barcode=${PIECE}`);
  await page.getByLabel("Name", { exact: true }).fill("Pencil");
  await page.getByLabel("SKU", { exact: true }).fill("PEN-1");
  await page.getByLabel("Barcode", { exact: true }).fill("CRATE-6 x6");
  await page.getByRole("button", { name: "Add barcode" }).click();
  await shows("How many are in what has the code CRATE-6", "6");
  await page.getByLabel("Barcode", { exact: true }).fill(CASE);
  await page.getByRole("button", { name: "Add barcode" }).click();
  await page.getByText("The number of a case. How many are in it?").waitFor();
  await page.getByLabel(`How many are in what has the code ${CASE}`).fill("0");
  await page.getByText("A case holds 1 to 100,000").waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await barriers.look("codes with pack sizes");
  await page.getByRole("button", { name: `Remove barcode ${CASE}` }).click();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("CRATE-6, a case of 6").waitFor();
  expect(barriers.found).toEqual({});
});

test("an unknown case of goods that are known is offered as one, and counts at once", async () => {
  const { page } = ada;
  const barriers = new Barriers(page);
  // From anywhere: it leads to what can be done with it.
  await ada.scan(CASE);
  await page.getByText(`${CASE} looks like the number of a case of Pencil.`).waitFor();
  await ada.to("receive");
  await page.getByLabel("Delivery note").waitFor();
  await ada.scan(CASE);
  await page.getByText(`${CASE} looks like the number of a case of Pencil.`).waitFor();
  await page.getByRole("button", { name: "It is a case" }).click();
  await page.getByText("A case holds 1 to 100,000").waitFor();
  await barriers.look("maybe a case");
  await page.getByLabel("How many are in a case?").fill("12");
  await page.getByRole("button", { name: "It is a case" }).click();
  await told(/1 case of 12 = 12, Pencil/);
  await shows("Quantity of Pencil", "12");
  await barriers.look("a case counted");
  await ada.scan(CASE);
  await shows("Quantity of Pencil", "24");
  await page.getByRole("button", { name: "Take the case back" }).click();
  await shows("Quantity of Pencil", "12");
  await ada.scan(PIECE);
  await shows("Quantity of Pencil", "13");
  await page.getByRole("button", { name: "Receive 13 units" }).click();
  await page.getByText(/Received 13 units/).waitFor();
  expect(barriers.found).toEqual({});
});

test("sold, looked up and seen on the shelf: a case is its pieces, and undone whole", async () => {
  const { page } = ada;
  await ada.to("scan");
  await page.getByText("Sold", { exact: true }).click();
  await ada.scan(CASE);
  await page.getByText("Pencil (1 case of 12 = 12) sold, 1 left").waitFor();
  await page.getByRole("button", { name: "Undo", exact: true }).click();
  await page.getByText("Scan what leaves the shelf").waitFor();
  await page.getByText("Look up", { exact: true }).click();
  await ada.scan(CASE);
  await told(/1 case of 12 = 12/);
  await page.getByText("12 ×").waitFor();
  await page.getByRole("button", { name: "Take the case back" }).click();
  await page.getByText("Nothing scanned yet").waitFor();
  await ada.open("PEN-1");
  await ada.onHand(13);
  await page.getByText(`${CASE}, a case of 12`).waitFor();
  await page.getByRole("link", { name: "Adjust" }).click();
  await page.getByLabel("What you see on the shelf").waitFor();
  await ada.scan(CASE);
  await shows("What you see on the shelf", "12");
  await ada.scan(PIECE);
  await shows("What you see on the shelf", "13");
  await ada.scan(CASE);
  await shows("What you see on the shelf", "25");
  await page.getByRole("button", { name: "Take the case back" }).click();
  await shows("What you see on the shelf", "13");
  await ada.chip(/All saved to server/);
  const codes = "SELECT code, pack FROM barcode WHERE code IN ('CRATE-6', '14006381333938')";
  expect(new Map((await world.server(codes)) as [string, number][])).toEqual(
    new Map([
      ["CRATE-6", 6],
      [CASE, 12],
    ]),
  );
  expect(ada.errors).toEqual([]);
});
