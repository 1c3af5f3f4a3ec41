/** Somebody who is quicker than the database: nothing is recorded against a guess, and no scan is lost. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_, until } from "../support/browser.js";
import { holdReplica, openTab } from "../support/tab.js";
import { type Person, World } from "../support/world.js";

let world: World;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  dilan = await world.person("dilan");
  for (const sku of ["CORK-1", "CORK-2"]) await dilan.addProduct(sku, `Cork ${sku}`, "0.40");
  await dilan.receive("CORK-1", 8, "C-1");
  await dilan.chip(/All saved to server/);
  await openTab(dilan.page);
});
afterAll(() => world.close());

test("nothing is recorded against a stock that is not known yet", async () => {
  const { page } = dilan;
  await dilan.open("CORK-1");
  const product = new URL(page.url()).hash.split("/")[2] ?? "";
  const release = await holdReplica(page);
  await dilan.to(`product/${product}/adjust`);
  const seen = page.getByLabel("What you see on the shelf");
  await seen.waitFor();
  for (const step of ["−1", "+1"])
    expect(await page.getByRole("button", { name: step }).isDisabled()).toBe(true);
  await seen.fill("5");
  expect(await page.locator("[data-now]").textContent()).toBe("");
  expect(await page.locator("[data-missing]").isDisabled()).toBe(true);
  expect(await page.getByText(/becomes 5/).count()).toBe(0);
  await seen.press("Enter");

  await release();
  await expect_(page.locator("[data-now]"), /^8$/);
  await page.getByText("8 becomes 5: −3").waitFor();
  await page.getByRole("radio", { name: "Damaged" }).check();
  await page.getByRole("button", { name: "Record −3" }).click();
  await page.getByText("Recorded −3, saved on this device").waitFor();
  await dilan.onHand(5);
});

test("the second tap of a double tap does nothing to what has come below it", async () => {
  const { page } = dilan;
  await dilan.open("CORK-2");
  const product = new URL(page.url()).hash;
  await page.getByRole("link", { name: "Adjust" }).click();
  await page.getByLabel("What you see on the shelf").fill("6");
  await page.getByRole("radio").first().check();
  await page.getByRole("button", { name: "Record +6" }).dblclick();
  await page.getByText("Recorded +6, saved on this device").waitFor();
  await dilan.onHand(6);
  // Behind the message lies a link.
  await page.getByRole("button", { name: "Undo", exact: true }).last().dblclick();
  await page.getByText("Undone, saved on this device").waitFor();
  await dilan.onHand(0);
  expect(new URL(page.url()).hash).toBe(product);

  await dilan.to("receive");
  await dilan.scan("CORK-2");
  await page.getByRole("button", { name: "Receive 1 unit" }).waitFor();
  await page.getByRole("button", { name: "Clear" }).dblclick();
  await page.getByRole("button", { name: /^Yes, / }).waitFor();
  await page.getByRole("button", { name: "Receive 1 unit" }).waitFor();
  await page.getByRole("button", { name: /^Yes, / }).click();
  await page.getByText("Scan the first item").waitFor();
});

test("Enter in the fields of a product's form goes on to the next, and saves nothing", async () => {
  const { page } = dilan;
  await dilan.to("product/new");
  const name = page.getByLabel("Name", { exact: true });
  await name.fill("Cork board");
  await page.getByLabel("SKU", { exact: true }).fill("CORK-9");
  await name.focus();
  const met: string[] = [];
  for (let press = 0; press < 8; press += 1) {
    await page.keyboard.press("Enter");
    met.push(
      await page.evaluate(
        () => document.activeElement?.closest("label, .field, div")?.textContent?.trim() ?? "",
      ),
    );
  }
  expect(met.slice(0, 3).join(" ")).toMatch(/SKU.*Shelf.*Price/);
  await page.getByRole("heading", { name: "New product" }).waitFor();
  expect(await world.server("SELECT sku FROM product WHERE sku = 'CORK-9'")).toEqual([]);
  await page.getByRole("button", { name: "Cancel" }).click();
});

test("what is scanned while a shipment is saved stays on the list, and only that", async () => {
  const { page } = dilan;
  await dilan.to("receive");
  await dilan.scan("CORK-1");
  await dilan.scan("CORK-1");
  await page.getByRole("button", { name: "Receive 2 units" }).waitFor();
  await page.getByLabel("Delivery note").fill("C-2");

  const release = await holdReplica(page);
  // Looked up and saved one after the other, once the database is free: both scans come in between.
  await dilan.scan("CORK-1");
  await dilan.scan("CORK-2");
  await page.getByRole("button", { name: "Receive 2 units" }).click();
  await page.locator("[data-book][aria-busy=true]").waitFor();
  await release();
  await page.getByText("Received 2 units, saved on this device").waitFor();
  // The list that was received had two units as well, and goes when the screen has heard of it.
  for (const name of ["Cork CORK-1", "Cork CORK-2"])
    await until(`1 of ${name}`, async () => {
      const field = page.getByLabel(`Quantity of ${name}`);
      return (await field.count()) === 1 && (await field.inputValue()) === "1";
    });
  await page.getByRole("button", { name: "Receive 2 units" }).waitFor();
  await dilan.chip(/All saved to server/);
  expect(await world.server("SELECT quantity FROM movement WHERE document = 'C-2'")).toEqual([[2]]);
  expect(dilan.errors).toEqual([]);
});
