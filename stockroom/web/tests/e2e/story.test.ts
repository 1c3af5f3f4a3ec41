/**
 * The story the app must carry: work without connection, its return, a conflict, a person, agreement.
 * Two browsers and a device of Python's that works from a shell.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

test("three devices, one cable pulled, one price changed twice, and everything agrees", async () => {
  const ada = await world.person("ada", { store: "Harbour Street" });
  const mira = await world.person("mira");
  await world.enrolDevice("office.db", "ada", "1");
  await ada.addProduct("TEA-1", "Green tea", "4.00");
  await ada.receive("TEA-1", 10);
  await ada.chip(/All saved to server/);
  await mira.open("TEA-1");
  await mira.onHand(10);

  // The connection drops while Dilan works; the work goes on.
  mira.cable.pull();
  await mira.adjustTo("TEA-1", 7);
  await mira.edit("TEA-1", { Price: "4.50" });
  await mira.addProduct("TEA-2", "Black tea", "3.20");
  await mira.receive("TEA-2", 24, "DN-7");
  await mira.chip(/Working without connection: \d+ changes? kept on this device/);
  await mira.open("TEA-1");
  await mira.onHand(7);
  await expect_(mira.page.getByText(/not sent yet/), /incl\. −3 not sent yet/);

  // Somebody else changes the same things meanwhile.
  await ada.adjustTo("TEA-1", 8);
  await ada.edit("TEA-1", { Price: "5.00" });
  await ada.chip(/All saved to server/);
  await world.device("office.db", "sync");
  await world.device("office.db", "adjust", "TEA-1", "--by", "-1", "--reason", "sale");
  await world.device("office.db", "sync");
  await ada.open("TEA-1");
  await ada.onHand(7);

  // It returns: the app notices by itself, quantities add up, the price waits for a person.
  mira.cable.plug();
  await mira.chip(/1 needs you/);
  await mira.onHand(4);
  await ada.onHand(4);
  await ada.open("TEA-2");
  await ada.onHand(24);

  await mira.to("needs");
  const card = mira.page.locator("[data-conflict=price]");
  await expect_(card, /Green tea/);
  const words = (await card.textContent()) ?? "";
  for (const part of ["€4.50", "€5.00", "It was €4.00", "Ada Marsh", "You, this device"])
    expect(words).toContain(part);
  await card.getByRole("button", { name: "Keep mine: €4.50" }).click();
  await mira.chip(/All saved to server/);
  await ada.open("TEA-1");
  await expect_(ada.page.getByText("€4.50").first(), /€4\.50/);

  // All compare with the server, down to the stored rows.
  await mira.agrees();
  await ada.agrees();
  const synced = await world.device("office.db", "sync");
  expect(synced["verified"]).toBe(true);
  const tea = await world.device("office.db", "stock", "TEA-1");
  expect([tea["on_hand"], (tea["product"] as { price: number }).price]).toEqual([4, 450]);
  expect((await world.device("office.db", "stock", "TEA-2"))["on_hand"]).toBe(24);
});
