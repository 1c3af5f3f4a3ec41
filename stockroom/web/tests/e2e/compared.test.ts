/** Whatever a comparison ends in is shown, and stays whatever else is said. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

let world: World;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  dilan = await world.person("dilan");
  await dilan.addProduct("CUP-9", "Cup nine", "2.00");
  await dilan.chip(/All saved to server/);
});
afterAll(() => world.close());

const ended = () => dilan.page.locator("[data-verification]");
const toast = () => dilan.page.locator(".toast");
/** All at one moment, and from there to another screen. */
const press = (names: readonly string[], hash = ""): Promise<void> =>
  dilan.page.evaluate(
    ([wanted, next]) => {
      for (const name of wanted)
        [...document.querySelectorAll("button")]
          .find((button) => button.textContent.trim() === name)
          ?.click();
      if (next !== "") location.hash = next;
    },
    [names, hash] as const,
  );

test("what is said of another sync does not take its place", async () => {
  await dilan.to("saved/device");
  await dilan.page.getByRole("button", { name: "Verify now" }).waitFor();
  await press(["Verify now", "Send now"]);
  await expect_(toast(), /both sides agree/);
  await expect_(ended(), /\d\d:\d\d: Compared with the server: the same data on both sides/);
  await dilan.to("saved/log");
  await dilan.to("saved/device");
  await expect_(ended(), /the same data on both sides/);
});

test("without a connection it says so, and the next one begins anew", async () => {
  dilan.cable.pull();
  await dilan.page.getByRole("button", { name: "Verify now" }).click();
  await expect_(ended(), /The server cannot be reached/);
  await dilan.backOnline();
  await dilan.agrees();
  await expect.poll(() => ended().count(), { timeout: 30_000 }).toBe(1);
});

test("who has left the screen is told where they are", async () => {
  await dilan.page.getByRole("button", { name: "Verify now" }).waitFor();
  await press(["Verify now"], "#/receive");
  await expect_(toast(), /the same data on both sides/);
});
