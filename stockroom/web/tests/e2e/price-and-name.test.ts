/** Price here and name there: both are kept. Price on both: a person sees both values, and decides. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_, until } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

let world: World;
let ada: Person;
let mira: Person;
beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
  mira = await world.person("mira");
  await ada.addProduct("SOAP-1", "Soap", "2.00");
  await ada.chip(/All saved to server/);
});
afterAll(() => world.close());

const stored = (): Promise<unknown[][]> =>
  world.server("SELECT name, price FROM product WHERE sku = 'SOAP-1'");

const drafts = (person: Person): Promise<string[]> =>
  person.page.evaluate(() => Object.keys(localStorage).filter((name) => /draft/.test(name)));

test("a price on one device and a name on another are both kept, and nobody is asked", async () => {
  await mira.open("SOAP-1");
  mira.cable.pull();
  await mira.edit("SOAP-1", { Name: "Lavender soap" });
  await ada.edit("SOAP-1", { Price: "2.40" });
  await ada.chip(/All saved to server/);
  mira.cable.plug();
  await mira.chip(/All saved to server/);
  for (const person of [ada, mira]) {
    await person.open("SOAP-1");
    await expect_(person.page.getByRole("heading", { level: 1 }), /Lavender soap/);
    await person.page.getByText("€2.40").first().waitFor();
  }
  expect(await stored()).toEqual([["Lavender soap", 240]]);
});

test("a price on both is asked about, with both values, who and when; offline, on any device", async () => {
  mira.cable.pull();
  await mira.edit("SOAP-1", { Price: "2.70" });
  await ada.edit("SOAP-1", { Price: "3.10" });
  await ada.chip(/All saved to server/);
  mira.cable.plug();
  for (const person of [ada, mira]) {
    await person.chip(/1 needs you/);
    await person.to("sync/needs");
    const card = person.page.locator("[data-conflict=price]");
    await expect_(card, /Lavender soap/);
    const words = (await card.textContent()) ?? "";
    for (const part of ["€2.70", "€3.10", "It was €2.40", "ada", "mira"])
      expect(words).toContain(part);
    // Both authors have their time.
    expect(words.match(/\d{2}:\d{2}/g)).toHaveLength(2);
    expect(words).toContain("this device");
    expect(words).not.toMatch(/[0-9a-f]{8}/);
  }
  await mira.page.getByLabel("Or type another").fill("2.65");
  expect(await drafts(mira)).toHaveLength(1);
  // Who did not write it decides, with a value of neither, and without a connection.
  ada.cable.pull();
  await ada.page.getByLabel("Or type another").fill("2.90");
  await ada.installed();
  await ada.page.reload();
  await until("what was typed is there", async () => {
    const typed = ada.page.getByLabel("Or type another");
    return (await typed.count()) === 1 && (await typed.inputValue()) === "2.90";
  });
  await ada.page.getByRole("button", { name: "Use it" }).click();
  await ada.chip(/Working without connection: 1 change kept on this device/);
  await ada.page.getByText("Nothing needs you").waitFor();
  expect(await drafts(ada)).toEqual([]);
  ada.cable.plug();
  await ada.chip(/All saved to server/);
  await mira.chip(/All saved to server/);
  // What somebody typed into a card that another has settled is about nothing any more.
  await mira.page.getByText("Nothing needs you").waitFor();
  expect(await drafts(mira)).toEqual([]);
  for (const person of [ada, mira]) {
    await person.open("SOAP-1");
    await person.page.getByText("€2.90").first().waitFor();
  }
  expect(await stored()).toEqual([["Lavender soap", 290]]);
});

test("a card that is open shows the price in use as it changes, and what it shows is what is kept", async () => {
  mira.cable.pull();
  await mira.edit("SOAP-1", { Price: "2.70" });
  await ada.edit("SOAP-1", { Price: "3.10" });
  await ada.chip(/All saved to server/);
  mira.cable.plug();
  await mira.to("sync/needs");
  const card = mira.page.locator("[data-conflict=price]");
  await expect_(card, /In use now\s*€3\.10/);
  await ada.edit("SOAP-1", { Price: "3.30" });
  await expect_(card, /In use now\s*€3\.30/);
  await card.getByRole("button", { name: "Keep €3.30" }).click();
  await mira.chip(/All saved to server/);
  await ada.chip(/All saved to server/);
  expect(await stored()).toEqual([["Lavender soap", 330]]);
  await mira.agrees();
});
