/** Undo works offline, also of what is synced by then; a hand scanner works on any screen. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { type Person, World } from "../support/world.js";

let world: World;
let ada: Person;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
  dilan = await world.person("dilan");
});
afterAll(() => world.close());

test("undone on two devices at once, offline and on, it is undone once", async () => {
  await ada.addProduct("PEN-1", "Red pen", "1.20");
  await ada.receive("PEN-1", 12);
  await ada.chip(/All saved to server/);
  await dilan.open("PEN-1");
  await dilan.onHand(12);
  dilan.cable.pull();
  for (const person of [dilan, ada]) {
    await person.open("PEN-1");
    await person.page.getByRole("button", { name: /^Undo \+12/ }).click();
    await person.onHand(0);
  }
  dilan.cable.plug();
  await dilan.chip(/All saved to server/);
  for (const person of [dilan, ada]) {
    await person.onHand(0);
    expect(await person.page.locator("li.entry").count()).toBe(2);
    expect(person.errors).toEqual([]);
  }
});

test("a scanned code opens its product, and an unknown one a new product with the code", async () => {
  const { page } = ada;
  await ada.to("product/new");
  await page.getByLabel("Barcode", { exact: true }).fill("4012345678901");
  await page.getByRole("button", { name: "Add barcode" }).click();
  await page.getByLabel("Name", { exact: true }).fill("Blue pen");
  await page.getByLabel("SKU", { exact: true }).fill("PEN-2");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Blue pen" }).waitFor();

  // Into whatever has the focus.
  await ada.to("stock");
  await page.getByRole("searchbox").fill("mug");
  await ada.scan("4012345678901");
  await page.getByRole("heading", { name: "Blue pen" }).waitFor();
  await ada.to("stock");
  expect(await page.getByRole("searchbox").inputValue()).toBe("mug");
  await ada.scan("9999999999994");
  await page.getByText("9999999999994").waitFor();
  await page.getByRole("heading", { name: "New product" }).waitFor();

  // A scanner that types something around each code: with a prefix set, nothing else is a scan.
  await ada.to("sync/device");
  await page.getByLabel("Before the code").fill("~");
  await page.getByLabel("After the code").fill("#");
  await page.getByLabel("Before the code").focus();
  await ada.scan("~4012345678901#");
  await page.getByText("It works: read 4012345678901").waitFor();
  expect(await page.getByLabel("Before the code").inputValue()).toBe("~");
  await ada.to("stock");
  await page.getByRole("searchbox").fill("");
  await ada.scan("9999999999994");
  expect(await page.getByRole("searchbox").inputValue()).toBe("9999999999994");

  // The Enter behind a suffix is the scanner's as well: it records nothing.
  await ada.to("receive");
  await ada.scan("~4012345678901#");
  await page.getByRole("spinbutton").focus();
  await ada.scan("~4012345678901#");
  await page.getByRole("button", { name: "Receive 2 units" }).waitFor();
  expect(await page.getByRole("spinbutton").inputValue()).toBe("2");

  // What was scanned is there after a reload.
  await ada.to("scan");
  await ada.scan("~4012345678901#");
  await page.getByText("1 ×").waitFor();
  await page.reload();
  await page.getByText("1 ×").waitFor();
  // And the screen that was loaded again takes the next scans, too.
  await ada.scan("~4012345678901#");
  await page.getByText("2 ×").waitFor();
  await ada.to("receive");
  await page.getByLabel("Delivery note").waitFor();
  await page.reload();
  await page.getByText("What came in").or(page.getByText("Receive 2 units")).first().waitFor();
  await ada.scan("~4012345678901#");
  await page.getByRole("button", { name: "Receive 3 units" }).waitFor();
});
