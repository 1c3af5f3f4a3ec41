/**
 * The whole browser is killed right after it said "saved": it is still there, and is sent once.
 *
 * Checks I1.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Chromium } from "../../../../browser/tests/support/chromium.js";
import { Person, World } from "../support/world.js";

let world: World;
let browser: Chromium;
beforeAll(async () => {
  [world, browser] = await Promise.all([World.make(), Chromium.start()]);
});
afterAll(async () => {
  await browser.close();
  await world.close();
});

test("killed with SIGKILL right after each word of it, the work is there and goes up once", async () => {
  const way = await world.way();
  const start = async (): Promise<Person> =>
    new Person("dilan", browser.context, await browser.context.newPage(), way);
  let dilan = await start();
  await dilan.page.goto(way.cable.url);
  await dilan.signIn();
  await dilan.installed();
  await dilan.addProduct("SALT-1", "Sea salt", "2.10");
  await dilan.chip(/All saved to server/);

  way.cable.pull();
  for (const work of [
    () => dilan.receive("SALT-1", 20, "DN-20"),
    () => dilan.adjustTo("SALT-1", 17),
    () => dilan.addProduct("SALT-2", "Rock salt", "1.80"),
  ]) {
    await work();
    await browser.kill();
    await browser.start();
    dilan = await start();
    await dilan.page.goto(way.cable.url);
    await dilan.page.getByRole("searchbox").waitFor();
    await dilan.chip(/: \d+ changes? kept on this device/);
  }
  await dilan.open("SALT-1");
  await dilan.onHand(17);
  way.cable.plug();
  // A browser that is killed soon after a sign-in has forgotten it; the work has not gone with it.
  await dilan.signInAgain();
  await dilan.chip(/All saved to server/);
  const moved =
    "SELECT p.sku, m.quantity FROM product AS p LEFT JOIN movement AS m ON m.product_id = p.id " +
    "WHERE p.sku LIKE 'SALT-%' ORDER BY 1, 2";
  expect(await world.server(moved)).toEqual([
    ["SALT-1", -3],
    ["SALT-1", 20],
    ["SALT-2", null],
  ]);
  await dilan.agrees();
});
