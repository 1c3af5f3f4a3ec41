/** The story the app must carry: work without connection, its return, a conflict, a person, agreement. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

test("two people, one cable pulled, one price changed twice, and everything agrees", async () => {
  const ada = await world.person("ada", "Harbour Street");
  const dilan = await world.person("dilan");
  await ada.addProduct("TEA-1", "Green tea", "4.00");
  await ada.receive("TEA-1", 10);
  await ada.chip(/All saved to server/);
  await dilan.open("TEA-1");
  await dilan.onHand(10);

  // The connection drops while Dilan works; the work goes on.
  dilan.cable.pull();
  await dilan.adjustTo("TEA-1", 7);
  await dilan.setPrice("TEA-1", "4.50");
  await dilan.addProduct("TEA-2", "Black tea", "3.20");
  await dilan.receive("TEA-2", 24, "DN-7");
  await dilan.chip(/Working without connection: 4 changes kept on this device/);
  await dilan.open("TEA-1");
  await dilan.onHand(7);
  await expect_(dilan.page.getByText(/not sent yet/), /incl\. −3 not sent yet/);

  // Somebody else changes the same things meanwhile.
  await ada.adjustTo("TEA-1", 8);
  await ada.setPrice("TEA-1", "5.00");
  await ada.chip(/All saved to server/);

  // It returns: the app notices by itself, quantities add up, the price waits for a person.
  dilan.cable.plug();
  await dilan.chip(/1 needs you/);
  await dilan.onHand(5);
  await ada.open("TEA-1");
  await ada.onHand(5);
  await ada.open("TEA-2");
  await ada.onHand(24);

  await dilan.to("sync/needs");
  const card = dilan.page.locator("[data-conflict=price]");
  await expect_(card, /Green tea/);
  const words = (await card.textContent()) ?? "";
  for (const part of ["€4.50", "€5.00", "It was €4.00", "ada", "dilan"])
    expect(words).toContain(part);
  await card.getByRole("button", { name: "Keep €4.50" }).click();
  await dilan.chip(/All saved to server/);
  await ada.open("TEA-1");
  await expect_(ada.page.getByText("€4.50").first(), /€4\.50/);

  // Both compare with the server, down to the stored rows.
  for (const person of [ada, dilan]) {
    await person.to("sync/device");
    await person.page.getByRole("button", { name: "Verify now" }).click();
    await person.page.getByText("the same data on both sides").waitFor();
    expect(person.errors).toEqual([]);
  }
});
