/** Every screen and card, on phone and desktop, in both themes: no barrier; and text is never markup. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Barriers } from "../support/barriers.js";
import { expect_ } from "../support/browser.js";
import { PASSWORD, type Person, World } from "../support/world.js";

const NASTY = '<img src=x onerror="window.hacked=1">';
const LONG =
  "Stoneware serving bowl with lid, extra large, reactive glaze in moss and sand, oven-safe to 220 degrees";
let world: World;
let ada: Person;
let barriers: Barriers;
let product = "";

beforeAll(async () => {
  world = await World.make();
  ada = await world.newcomer("ada");
  barriers = new Barriers(ada.page);
});
afterAll(() => world.close());

/** Each of these was looked at, each look in both sizes and themes; and nothing was found. */
function expectNone(...states: readonly string[]): void {
  expect(barriers.found).toEqual({});
  for (const state of states)
    expect(barriers.looks.filter((look) => look.startsWith(`${state}, `))).toHaveLength(4);
}

async function visit(path: string, title: string): Promise<void> {
  await ada.to(path);
  await ada.page
    .getByRole("heading", { name: title, exact: true })
    .first()
    .waitFor({ state: "attached" });
}

test("no barriers before the first screen", async () => {
  const { page } = ada;
  await barriers.look("sign-in");
  await page.getByRole("button", { name: "One-time code" }).click();
  await barriers.look("sign-in by code");
  await page.getByRole("button", { name: "Password" }).click();
  await page.getByLabel("Name", { exact: true }).fill("ada");
  await page.getByLabel("Password").fill("not this one");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect_(page.getByRole("alert"), /That is not right/);
  await barriers.look("sign-in refused");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByText("Ready to work without connection").waitFor();
  await barriers.look("first load");
  await ada.start("Harbour Street");
  expectNone("sign-in", "sign-in by code", "sign-in refused", "first load");
});

test("no barriers at work", async () => {
  const { page } = ada;
  await ada.addProduct("NASTY", NASTY, "1.00");
  product = new URL(page.url()).hash.split("/")[2] ?? "";
  await barriers.look("product that never moved");
  await ada.receive("NASTY", 3, "<b>DN</b>");
  await barriers.look("received");
  await ada.addProduct("BOWL-1", LONG, "1234567.00");
  await ada.receive("BOWL-1", 999_999, "A delivery note with a long name, 2026-11-26/17");
  await ada.adjustTo("BOWL-1", 0);
  await barriers.look("product with a long name");

  await visit("stock", "Stock");
  await barriers.look("stock");
  await page.getByRole("searchbox").fill("zzzz");
  await page.getByText("Nothing found").waitFor();
  await barriers.look("nothing found");
  await page.getByRole("button", { name: "Clear the search" }).click();
  await visit(`product/${product}/adjust`, "Adjust stock");
  await page.getByLabel("What you see on the shelf").fill("many");
  await barriers.look("adjusting to no number");
  await page.getByLabel("What you see on the shelf").fill("1");
  await barriers.look("adjusting");
  await page.getByLabel("What you see on the shelf").fill("");
  await visit(`product/${product}/edit`, "Edit product");
  await barriers.look("edit");
  await visit("product/new?barcode=4000000000013", "New product");
  await page.getByRole("button", { name: "Remove barcode 4000000000013" }).waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Give it a name").waitFor();
  await barriers.look("new, and not all there");
  await page.getByRole("button", { name: "Cancel" }).click();

  await visit("receive", "Receive a shipment");
  await barriers.look("nothing received");
  const find = page.getByLabel("Scan, or search for a product");
  for (const sku of ["NASTY", "BOWL-1"]) {
    await find.fill(sku);
    await page.getByRole("button", { name: sku }).first().click();
  }
  await find.fill("4000000000099");
  await find.press("Enter");
  await page.getByText("No product has the code").waitFor();
  await find.fill("bowl");
  await page.getByRole("button", { name: "BOWL-1" }).waitFor();
  await barriers.look("receiving");
  await find.fill("");
  await page.getByRole("button", { name: "Clear" }).click();

  await visit("scan", "Scan");
  await barriers.look("nothing scanned");
  for (const code of ["BOWL-1", "4000000000099"]) {
    await page.getByLabel("Code").fill(code);
    await page.getByRole("button", { name: "Find it" }).click();
  }
  await page.getByText("No product has the code").waitFor();
  await barriers.look("scanned");
  await page.getByRole("button", { name: "Clear" }).click();

  for (const part of ["waiting", "log", "device"]) {
    await visit(`saved/${part}`, "Saved work");
    await barriers.look(`saved, ${part}`);
  }
  await visit("needs", "Needs you");
  await barriers.look("nothing needs you");
  await visit("today", "Today");
  await barriers.look("today");
  await page.getByRole("button", { name: "settings and this device" }).click();
  await barriers.look("what is mine");
  await page.getByRole("button", { name: "Close" }).click();
  await visit("nowhere/at/all", "Nothing is here");
  await barriers.look("nowhere");
  await ada.chip(/All saved to server/);
  await visit("settings", "Settings");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("Sign out and remove the data?").waitFor();
  await barriers.look("signing out");
  expectNone(
    "stock",
    "edit",
    "receiving",
    "scanned",
    "saved, log",
    "saved, device",
    "today",
    "what is mine",
    "nowhere",
    "signing out",
  );
});

test("no barriers in the cards of what needs somebody", async () => {
  const { page } = ada;
  const mira = await world.person("mira");
  for (const sku of ["BELL-1", "BELL-2"]) await ada.addProduct(sku, `Bell ${sku}`, "4.00");
  await ada.chip(/All saved to server/);
  ada.cable.pull();
  await ada.edit("BELL-1", { Price: "4.50" });
  await ada.edit("BELL-2", { SKU: "BELL-3" });
  await mira.edit("BELL-1", { Price: "5.00" });
  await mira.addProduct("BELL-3", "Hand bell", "6.00");
  await mira.chip(/All saved to server/);
  await mira.context.close();
  await ada.backOnline();
  await ada.chip(/2 need you/);

  await visit("needs", "Needs you");
  const [conflict, refused] = [page.locator("[data-conflict]"), page.locator("[data-refused]")];
  await conflict.waitFor();
  await refused.waitFor();
  await barriers.look("cards as they come");
  await conflict.getByLabel("Or type another").fill("4.75");
  await refused.getByLabel("Another SKU").fill("BELL-1");
  await barriers.look("cards, typed");
  await conflict.getByLabel("Or type another").fill("cheap");
  await conflict.getByRole("button", { name: "Use it" }).click();
  await conflict.getByText("Not a price").waitFor();
  await refused.getByRole("button", { name: "Use it" }).click();
  await refused.getByText("is there already").last().waitFor();
  await barriers.look("cards, wrong");
  await refused.getByRole("button", { name: "Discard…" }).click();
  await refused.getByText("Discard for good?").waitFor();
  await barriers.look("cards, discarding");
  await refused.getByRole("button", { name: "Yes, discard" }).click();
  await conflict.getByRole("button", { name: "Keep €5.00" }).click();
  await page.getByText("Nothing needs you").waitFor();
  await ada.chip(/All saved to server/);
  expectNone("cards as they come", "cards, typed", "cards, wrong", "cards, discarding");
});

test("no barriers in what is told of trouble", async () => {
  ada.cable.pull();
  await ada.receive("NASTY", 1);
  await ada.chip(/Working without connection: \d+ changes? kept/);
  await ada.to("saved");
  await ada.page.locator("[data-connection=away]").waitFor();
  await barriers.look("no connection");
  await ada.backOnline();
  await ada.chip(/All saved to server/);
  expectNone("no connection");
});

test("text from anywhere is text", async () => {
  await visit("stock", "Stock");
  await ada.page.getByRole("searchbox").fill("");
  for (const path of [`product/${product}`, "stock", "saved/log"]) {
    await ada.to(path);
    await ada.page.getByText(NASTY).first().waitFor();
  }
  expect(await ada.page.evaluate(() => "hacked" in window)).toBe(false);
  expect(await ada.page.locator("img[src=x]").count()).toBe(0);
  expect(ada.errors).toEqual([]);
});
