/** Price here and name there: both are kept. Price on both: a person sees both values, and decides. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_, type Locator, until } from "../support/browser.js";
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
  await mira.backOnline();
  for (const person of [ada, mira]) {
    await person.chip(/1 needs you/);
    await person.to("needs");
    const card = person.page.locator("[data-conflict=price]");
    await expect_(card, /Lavender soap/);
    const words = (await card.textContent()) ?? "";
    const other = person === ada ? "Mira Sato, Linux" : "Ada Marsh, Linux";
    for (const part of ["€2.70", "€3.10", "It was €2.40", "You, this device", other])
      expect(words).toContain(part);
    // Both authors have their time.
    expect(words.match(/\d{2}:\d{2}/g)).toHaveLength(2);
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
  await ada.chip(/Working without connection: \d+ changes? kept on this device/);
  await ada.page.getByText("Nothing needs you").waitFor();
  expect(await drafts(ada)).toEqual([]);
  await ada.backOnline();
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

/** Both have set another price: what stands is ada's, mira's waits. */
async function disputed(prices: { readonly ada: string; readonly mira: string }): Promise<void> {
  mira.cable.pull();
  await mira.edit("SOAP-1", { Price: prices.mira });
  await ada.edit("SOAP-1", { Price: prices.ada });
  await ada.chip(/All saved to server/);
  await mira.backOnline();
  await mira.chip(/1 needs you/);
}

const cardOf = async (person: Person): Promise<Locator> => {
  await person.to("needs");
  const card = person.page.locator("[data-conflict=price]");
  await card.waitFor();
  return card;
};

test("keeping mine is right on every device, also where mine is what stands", async () => {
  await disputed({ ada: "4.10", mira: "4.20" });
  const settling = await cardOf(ada);
  await expect_(settling, /From Mira Sato\s*€4\.20/);
  await expect_(settling, /Yours, in use now\s*€4\.10/);
  await settling.getByRole("button", { name: /^Keep mine/ }).click();
  await ada.chip(/All saved to server/);
  await mira.chip(/All saved to server/);
  expect(await stored()).toEqual([["Lavender soap", 410]]);

  await disputed({ ada: "4.30", mira: "4.40" });
  const waiting = await cardOf(mira);
  await expect_(waiting, /Yours\s*€4\.40/);
  await waiting.getByRole("button", { name: /^Keep mine/ }).click();
  await mira.chip(/All saved to server/);
  await ada.chip(/All saved to server/);
  expect(await stored()).toEqual([["Lavender soap", 440]]);
});

test("another device of one's own says so, and a third person is shown names", async () => {
  await disputed({ ada: "4.50", mira: "4.60" });
  const desk = await world.person("ada", { store: "Harbour Street" });
  const own = await cardOf(desk);
  await expect_(own, /Yours, in use now\s*€4\.50\s*You, Linux/);
  await expect_(own, /From Mira Sato\s*€4\.60\s*Mira Sato, Linux/);
  const third = await world.person("ben");
  const foreign = await cardOf(third);
  await expect_(foreign, /From Mira Sato\s*€4\.60\s*Mira Sato, Linux/);
  await expect_(foreign, /In use now\s*€4\.50\s*Ada Marsh, Linux/);
  expect(await foreign.getByRole("button", { name: /^Keep mine/ }).count()).toBe(0);
  expect(await foreign.textContent()).not.toMatch(/You|Yours/);
  await own.getByRole("button", { name: "Keep mine: €4.50" }).click();
  await desk.chip(/All saved to server/);
  await mira.chip(/All saved to server/);
  await ada.chip(/All saved to server/);
  expect(await stored()).toEqual([["Lavender soap", 450]]);
  for (const one of [desk, third]) await one.context.close();
});

test("a card that is open shows the price in use as it changes, and what it shows is what is kept", async () => {
  mira.cable.pull();
  await mira.edit("SOAP-1", { Price: "2.70" });
  await ada.edit("SOAP-1", { Price: "3.10" });
  await ada.chip(/All saved to server/);
  await mira.backOnline();
  await mira.to("needs");
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

test("an amount and its currency are one question, and each side has its own", async () => {
  mira.cable.pull();
  await mira.edit("SOAP-1", { Price: "3.50" });
  await ada.edit("SOAP-1", { Currency: "JPY", Price: "520" });
  await ada.chip(/All saved to server/);
  await mira.backOnline();
  await mira.chip(/1 needs you/);
  const card = await cardOf(mira);
  await expect_(card, /Yours\s*€3\.50/);
  await expect_(card, /In use now\s*¥520/);
  await expect_(card, /It was €3\.30/);
  await card.getByRole("button", { name: "Keep ¥520" }).click();
  await mira.chip(/All saved to server/);
  expect(await stored()).toEqual([["Lavender soap", 520]]);
  await mira.agrees();
});
