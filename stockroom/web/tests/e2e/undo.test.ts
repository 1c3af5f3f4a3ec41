/** Undo works offline, also of what is synced by then; a hand scanner works on any screen. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
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
    // What somebody else has recorded is asked about first.
    if (person === dilan) {
      await expect_(person.page.locator(".toast"), /Ada Marsh has recorded this/);
      await person.onHand(12);
      await person.page.getByRole("button", { name: "Yes, undo it" }).click();
    }
    await person.onHand(0);
  }
  dilan.cable.plug();
  await dilan.chip(/All saved to server/);
  for (const person of [dilan, ada]) {
    await person.onHand(0);
    await expect.poll(() => person.page.locator("li.entry").count(), { timeout: 30_000 }).toBe(2);
    expect(person.errors).toEqual([]);
  }
});

test("an adjustment guesses nothing, doubts what looks like a scan, and its message undoes it", async () => {
  const { page } = dilan;
  await dilan.addProduct("INK-1", "Ink, blue", "3.40");
  await dilan.receive("INK-1", 70);
  await page.getByRole("button", { name: "Undo", exact: true }).click();
  await page.getByText("The delivery is taken back, saved on this device").waitFor();
  await dilan.open("INK-1");
  await dilan.onHand(0);
  await page.getByRole("link", { name: "Adjust" }).click();
  const seen = page.getByLabel("What you see on the shelf");
  const [go, reasons] = [page.locator("[data-missing], [data-asks=go]"), page.getByRole("radio")];
  await seen.fill("6");
  await expect_(go, /Choose why first/);
  expect(await page.locator("input[type=radio]:checked").count()).toBe(0);
  expect(await reasons.evaluateAll((all) => all.map((one) => one.getAttribute("value")))).toEqual([
    "found",
    "customer_return",
    "correction",
  ]);
  await go.click();
  expect(await reasons.first().evaluate((one) => one === document.activeElement)).toBe(true);

  // Nothing is booked by Enter, nor what looks like a scan without a word.
  for (const [typed, doubt] of [
    ["20000011", /20,000,011 looks like a scan/],
    ["5001", /0 becomes 5,001/],
  ] as const) {
    await seen.fill(typed);
    await expect_(page.getByRole("alert"), doubt);
    await reasons.first().check();
    await seen.press("Enter");
    await expect_(go, /Look at the number first/);
  }
  await page.getByRole("button", { name: "Yes, 5,001" }).click();
  await page.getByRole("button", { name: "Record +5,001" }).waitFor();
  await seen.fill("2.5");
  await page.getByText("Whole numbers only").waitFor();

  // A difference has a way only once somebody has chosen it.
  await page.getByRole("button", { name: "Take away or add" }).click();
  await page.getByLabel("How many").fill("2");
  await expect_(go, /Take away, or add/);
  await page.getByRole("button", { name: "Take away", exact: true }).click();
  await page.getByText("0 becomes -2: −2").waitFor();
  await page.getByText("below zero").waitFor();
  await page.getByRole("radio", { name: "Missing" }).check();
  await page.getByRole("button", { name: "Record −2" }).click();
  await dilan.onHand(-2);
  await expect_(page.locator("li.entry").first(), /Missing/);
  await page.locator(".toast").getByRole("button", { name: "Undo", exact: true }).click();
  await dilan.onHand(0);
  expect(dilan.errors).toEqual([]);
});

test("what is scanned as sold is booked at once, told when it falls below zero, and taken back", async () => {
  const { page } = dilan;
  await dilan.addProduct("TIN-1", "Tea tin", "7.90");
  await dilan.receive("TIN-1", 2);
  await dilan.to("scan");
  await page.getByRole("button", { name: "Sold", exact: true }).click();
  for (const left of ["1 left", "0 left", "-1 left: below zero"]) {
    await dilan.scan("TIN-1");
    await expect_(page.locator(".toast"), new RegExp(`Tea tin sold, ${left}`));
  }
  await page.getByText("Value at your prices").waitFor();
  await page.getByRole("button", { name: "Done, 3 units sold" }).waitFor();
  await page.locator(".toast").getByRole("button", { name: "Undo", exact: true }).click();
  await page.getByRole("button", { name: "Done, 2 units sold" }).waitFor();
  await page.getByRole("button", { name: "Undo this whole sale" }).click();
  await page.getByText("Scan what leaves the shelf").waitFor();
  await dilan.open("TIN-1");
  await dilan.onHand(2);
  await expect
    .poll(() => page.locator("li.entry").filter({ hasText: "Sold" }).count(), { timeout: 30_000 })
    .toBe(3);
  // The mode is kept.
  await dilan.to("scan");
  await page.getByText("Scan what leaves the shelf").waitFor();
  await page.getByRole("button", { name: "Look up", exact: true }).click();
  expect(dilan.errors).toEqual([]);
});

test("one barcode of two products is asked about in names, with what each answer leads to", async () => {
  for (const [person, sku, name] of [
    [ada, "UMB-1", "Umbrella black"],
    [dilan, "UMB-BLK", "Schirm schwarz"],
  ] as const) {
    person.cable.pull();
    await person.to("product/new?barcode=5000000000029");
    await person.page.getByLabel("Name", { exact: true }).fill(name);
    await person.page.getByLabel("SKU", { exact: true }).fill(sku);
    await person.page.getByRole("button", { name: "Save" }).click();
    await person.page.getByRole("heading", { name }).waitFor();
  }
  await ada.receive("UMB-1", 10);
  await ada.backOnline();
  await ada.chip(/All saved to server/);
  await dilan.backOnline();
  await ada.chip(/1 needs you/);
  await ada.to("needs");
  const card = ada.page.locator("[data-conflict=code]");
  await expect_(card, /Schirm schwarz keeps|Umbrella black keeps its 10 on hand/);
  const words = (await card.textContent()) ?? "";
  expect(words).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}/);
  for (const said of ["Umbrella black", "UMB-1", "Schirm schwarz", "UMB-BLK", "5000000000029"])
    expect(words).toContain(said);
  await card.getByRole("button", { name: "It is Umbrella black" }).click();
  await ada.page.getByText("Nothing needs you").waitFor();
  await ada.to("stock");
  await ada.scan("5000000000029");
  await ada.page.getByRole("heading", { name: "Umbrella black" }).waitFor();
  expect(ada.errors).toEqual([]);
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

  // A slow scanner, and one that stumbles, into fields: nothing of it stays there, and no form is sent.
  for (const [path, label, typed] of [
    ["product/new", "Name", "Ink"],
    ["scan", "Code", "12"],
  ] as const)
    for (const gapMs of [() => 60, (at: number) => (at === 6 ? 300 : 12)]) {
      await ada.to(path);
      const field = page.getByLabel(label, { exact: true });
      await field.fill(typed);
      await field.focus();
      await ada.scan("4012345678901", gapMs);
      if (path === "scan") await page.getByText(/^[12] ×/).waitFor();
      else await page.getByText("Blue pen has this barcode already").waitFor();
      expect(await field.inputValue()).toBe(typed);
    }
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByLabel("Code", { exact: true }).fill("");

  // A part of a code is nobody's: it is not offered as a new one.
  await ada.scan("0000855");
  await page.getByText("Only part of a code was read (0000855)").waitFor();
  expect(page.url()).toMatch(/#\/scan$/);
  expect(await page.getByText("No product has the code").count()).toBe(0);

  // A scanner that is slower than any other is learnt from the same code twice.
  await ada.to("scanner");
  await ada.scan("CORK-1", () => 110);
  await page.getByText("Read CORK-1. Once more, to be sure.").waitFor();
  await ada.scan("CORK-1", () => 110);
  await page.getByText("Learnt: a key every 110 ms").waitFor();
  await ada.to("stock");
  await page.getByRole("searchbox").fill("mug");
  await page.getByRole("searchbox").focus();
  await ada.scan("CORK-1", () => 110);
  await page.getByRole("heading", { name: "New product" }).waitFor();
  await ada.to("scanner");
  await page.getByRole("button", { name: "Forget what was learnt" }).click();
  await page.getByText("Not learnt yet").waitFor();

  // A scanner that types something around each code: with a prefix set, nothing else is a scan.
  await ada.to("settings");
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
