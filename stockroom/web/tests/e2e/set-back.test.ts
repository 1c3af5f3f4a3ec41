/**
 * The browser's profile is put back as it was a while ago: what was sent since comes back, what it writes
 * now goes up, and the person is told what happened. Then the shop gets a new server, empty: nothing leaves
 * the device before a person has said that it is the right one.
 *
 * Checks I4, I5, I7, I32.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Chromium } from "../../../../browser/tests/support/chromium.js";
import { expect_ } from "../support/browser.js";
import { Person, type Way, World } from "../support/world.js";

/** What has come and gone of the goods of this story, on the server. */
const moved =
  "SELECT m.quantity FROM product AS p JOIN movement AS m ON m.product_id = p.id " +
  "WHERE p.sku = 'SALT-1' ORDER BY 1";

let world: World;
let way: Way;
let dilan: Person;
const browsers: Chromium[] = [];
beforeAll(async () => {
  const [made, browser] = await Promise.all([World.make(), Chromium.start()]);
  world = made;
  browsers.push(browser);
});
afterAll(async () => {
  await Promise.all(browsers.map((one) => one.close()));
  await world.close();
});

test("one sentence says so, and everything is there once", async () => {
  way = await world.way();
  const [browser] = browsers as [Chromium];
  const start = async (of: Chromium): Promise<Person> => {
    const person = new Person("dilan", of.context, await of.context.newPage(), way);
    await person.page.goto(way.cable.url);
    return person;
  };
  dilan = await start(browser);
  await dilan.signIn();
  await dilan.installed();
  await dilan.addProduct("SALT-1", "Sea salt", "2.10");
  await dilan.chip(/All saved to server/);
  way.cable.pull();
  await dilan.receive("SALT-1", 20, "DN-20");
  await browser.kill();
  const before = browser.copy();
  browsers.push(before);

  // The original goes on for a while, and is gone.
  await browser.start();
  way.cable.plug();
  dilan = await start(browser);
  await dilan.page.getByRole("searchbox").waitFor();
  await dilan.signInAgain();
  await dilan.chip(/All saved to server/);
  await dilan.adjustTo("SALT-1", 17);
  await expect.poll(() => world.server(moved), { timeout: 30_000 }).toEqual([[-3], [20]]);
  await browser.kill();

  await before.start();
  dilan = await start(before);
  await dilan.page.getByRole("searchbox").waitFor();
  await dilan.signInAgain();
  await dilan.chip(/All saved to server/);
  await dilan.receive("SALT-1", 5, "DN-21");
  await dilan.chip(/All saved to server/);
  await dilan.open("SALT-1");
  await dilan.onHand(22);
  await dilan.to("sync");
  const note = dilan.page.locator("[data-happened-note]");
  await expect_(note, /set back to an older state.* sent again.* already arrived/);
  await note.getByRole("button").click();
  await note.waitFor({ state: "detached" });
  await dilan.to("saved/device");
  await expect_(dilan.page.locator("[data-happened]"), /set back to an older state/);
  expect(await world.server(moved)).toEqual([[-3], [5], [20]]);
  await dilan.agrees();
});

test("a new server in its place is worked with when a person says so, and not before", async () => {
  way.cable.pull();
  await world.beginAnew();
  await dilan.adjustTo("SALT-1", 12);
  way.cable.plug();
  await dilan.signInAgain();
  await dilan.chip(/(Sync|Sending) has stopped/);
  await dilan.to("saved");
  const other = dilan.page.locator("[data-parked='attention']");
  await expect_(other, /another server now/);
  await dilan.open("SALT-1");
  await dilan.onHand(12);
  expect(await world.server(moved)).toEqual([]);
  await dilan.to("saved");
  await other.getByRole("button", { name: "This is the right server" }).click();
  const file = dilan.page.waitForEvent("download");
  await dilan.page.getByRole("button", { name: "Save the file and go on" }).click();
  expect((await file).suggestedFilename()).toMatch(/^stockroom-before-.*\.db$/);
  await other.waitFor({ state: "detached" });
  await expect_(dilan.page.locator("[data-happened-note]"), /began to work with another server/);
  await dilan.chip(/All saved to server/);
  // What was written off on the profile that is gone, this one had from the old server alone.
  expect(await world.server(moved)).toEqual([[-10], [5], [20]]);
  await dilan.open("SALT-1");
  await dilan.onHand(15);
  await dilan.agrees();
});
