/**
 * The story in Firefox: sign in, first load, work without a connection, the browser ended and begun again with no
 * server at all, the server's return. Skipped where there is no Firefox.
 */

import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { FIREFOX, openFirefox } from "../support/firefox.js";
import { Person, World } from "../support/world.js";

/** A browser that starts three times has more to do than others. */
const STORY_MS = 300_000;

let world: World;
let dilan: Person | null = null;
beforeAll(async () => {
  if (FIREFOX !== null) world = await World.make();
});
afterAll(async () => {
  if (FIREFOX === null) return;
  await dilan?.context.close();
  await world.close();
});

test.skipIf(FIREFOX === null)(
  "in Firefox work outlives the server and the browser",
  async () => {
    const profile = path.join(world.folder, "firefox");
    const way = await world.way();
    const open = async (): Promise<Person> => {
      const context = await openFirefox(profile);
      const person = new Person("dilan", context, await context.newPage(), way);
      await person.page.goto(way.cable.url);
      return person;
    };
    dilan = await open();
    await dilan.signIn();
    await dilan.installed();
    await dilan.addProduct("FOX-1", "Fox jug", "8.00");
    await dilan.chip(/All saved to server/);

    // The decoder of the app's own reads here, for Firefox has none.
    await dilan.to("scan");
    await dilan.page.getByRole("button", { name: "Use the camera" }).click();
    await dilan.page.locator("[data-camera=running]").waitFor();

    way.cable.pull();
    await dilan.receive("FOX-1", 12, "DN-12");
    await world.stopServer("SIGKILL");
    expect(dilan.errors).toEqual([]);
    await dilan.context.close();

    dilan = await open();
    await dilan.page.getByRole("searchbox").waitFor();
    await dilan.chip(/Working without connection: \d+ changes? kept on this device/);
    await dilan.adjustTo("FOX-1", 9);

    await world.startServer();
    way.cable.plug();
    await dilan.to("saved");
    await dilan.chip(/All saved to server/);
    await dilan.open("FOX-1");
    await dilan.onHand(9);
    const moved =
      "SELECT m.quantity FROM product AS p JOIN movement AS m ON m.product_id = p.id " +
      "WHERE p.sku = 'FOX-1' ORDER BY 1";
    expect(await world.server(moved)).toEqual([[-3], [12]]);

    // Another device's work arrives by itself.
    const ada = await world.person("ada", { store: "Harbour Street" });
    await ada.addProduct("FOX-2", "Fox cup", "4.00");
    await ada.chip(/All saved to server/);
    await dilan.open("FOX-2");
    await expect_(dilan.page.locator("main"), /Fox cup/);
    await dilan.agrees();
  },
  STORY_MS,
);
