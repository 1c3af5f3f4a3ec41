/** Archived on one device and received on another: a person is asked, with names and units, and answers offline. */

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

test("archived here, received there: the card says who did what, and what each answer leads to", async () => {
  const { page } = ada;
  const barriers = new Barriers(page);
  await ada.addProduct("VASE-1", "Tall vase", "18.00");
  await ada.chip(/All saved to server/);
  await mira.open("VASE-1");
  ada.cable.pull();
  mira.cable.pull();
  await mira.receive("VASE-1", 6);
  await ada.open("VASE-1");
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByLabel("Archived: stop offering it").check();
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("[data-on-hand]").waitFor();
  await ada.backOnline();
  await ada.chip(/All saved to server/);
  await mira.backOnline();
  await ada.to("today");
  await page.getByText("Archived, and some are here: are they still sold?").waitFor();
  await ada.to("needs");
  const card = page.locator("[data-question=archived]");
  await card.waitFor();
  await barriers.look("archived with stock");
  const words = (await card.textContent()) ?? "";
  for (const part of ["Tall vase", "VASE-1", "archived it", "brought in 6"])
    expect(words).toContain(part);
  expect(words).not.toMatch(/[0-9a-f]{8}-/);
  ada.cable.pull();
  await card.getByRole("radio", { name: /Still sold: offer it again/ }).check();
  await card.getByRole("button", { name: "Save this answer" }).click();
  await page.getByText("Nothing needs you").waitFor();
  await ada.open("VASE-1");
  await ada.onHand(6);
  await ada.backOnline();
  await ada.chip(/All saved to server/);
  await mira.chip(/All saved to server/);
  await mira.open("VASE-1");
  await mira.onHand(6);
  await expect_(mira.page.locator("[data-changes]"), /no longer offered/);
  expect(barriers.found).toEqual({});
  for (const person of [ada, mira]) await person.agrees();
});
