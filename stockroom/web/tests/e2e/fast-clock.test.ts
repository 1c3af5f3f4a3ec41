/**
 * A device whose clock is three hours fast: things keep their order, and its user is told.
 *
 * Checks I20.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

const AHEAD_MS = 3 * 3600_000;
const APART_MS_MAX = 10 * 60_000;

let world: World;
let ada: Person;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
  dilan = await world.person("dilan", { aheadMs: AHEAD_MS });
  await ada.addProduct("FIG-1", "Figs", "5.00");
  await ada.receive("FIG-1", 30, "first");
  await ada.chip(/All saved to server/);
});
afterAll(() => world.close());

test("who edits last wins, whatever the clocks say", async () => {
  expect(await dilan.page.evaluate(() => Date.now())).toBeGreaterThan(Date.now() + AHEAD_MS / 2);
  await dilan.open("FIG-1");
  dilan.cable.pull();
  await dilan.edit("FIG-1", { Name: "Figs, by the fast clock" });
  await ada.edit("FIG-1", { Name: "Figs, named last" });
  await ada.chip(/All saved to server/);
  dilan.cable.plug();
  await dilan.page.getByRole("heading", { name: "Figs, named last", level: 1 }).waitFor();
  expect(await world.server("SELECT name FROM product WHERE sku = 'FIG-1'")).toEqual([
    ["Figs, named last"],
  ]);
});

test("movements have the time at which they happened, before they are sent and after", async () => {
  dilan.cable.pull();
  await dilan.receive("FIG-1", 2, "second");
  // Offline too, its own entry is shown with the right time: now, and not in three hours.
  await dilan.open("FIG-1");
  const shown = dilan.page.locator("li.entry", { hasText: "second" });
  await expect_(shown, new RegExp(`(?:${minuteNow(-1)}|${minuteNow(0)})`));
  dilan.cable.plug();
  await dilan.chip(/All saved to server/);
  await ada.receive("FIG-1", 3, "third");
  await ada.chip(/All saved to server/);
  for (const person of [ada, dilan]) {
    await person.open("FIG-1");
    await person.onHand(35);
    const entries = await person.page.locator("li.entry").allTextContents();
    const order = entries.map((words) => /first|second|third/.exec(words)?.[0]);
    expect(order).toEqual(["third", "second", "first"]);
  }
  const at = await world.server(
    "SELECT occurred_at FROM movement WHERE document IN ('first', 'second', 'third') ORDER BY 1",
  );
  for (const [us] of at)
    expect(Math.abs(Number(us) / 1000 - Date.now())).toBeLessThan(APART_MS_MAX);
});

test("its user is told, in words, wherever they are; and nobody else is", async () => {
  await dilan.chip(/All saved to server, \d\d:\d\d, clock 3 h fast/);
  await dilan.to("sync");
  await expect_(dilan.page.locator("[data-clock]"), /3 h fast.*order of things is right/);
  await ada.chip(/All saved to server, \d\d:\d\d$/);
  await dilan.agrees();
});

function minuteNow(more: number): string {
  return new Date(Date.now() + more * 60_000).toTimeString().slice(0, 5);
}
