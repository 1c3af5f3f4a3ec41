/**
 * The browser's profile is put back as it was a while ago: what was sent since comes back, what it writes
 * now goes up, and the person is told what happened.
 *
 * Checks I7.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Chromium } from "../../../../browser/tests/support/chromium.js";
import { expect_ } from "../support/browser.js";
import { Person, World } from "../support/world.js";

let world: World;
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
  const way = await world.way();
  const [browser] = browsers as [Chromium];
  const start = async (of: Chromium): Promise<Person> => {
    const person = new Person("dilan", of.context, await of.context.newPage(), way);
    await person.page.goto(way.cable.url);
    return person;
  };
  let dilan = await start(browser);
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
  await dilan.chip(/All saved to server/);
  await browser.kill();

  await before.start();
  dilan = await start(before);
  await dilan.page.getByRole("searchbox").waitFor();
  await dilan.signInAgain();
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
  const moved =
    "SELECT m.quantity FROM product AS p JOIN movement AS m ON m.product_id = p.id " +
    "WHERE p.sku = 'SALT-1' ORDER BY 1";
  expect(await world.server(moved)).toEqual([[-3], [5], [20]]);
  await dilan.agrees();
});
