/**
 * No room left on the device: a write fails loudly and whole, what was typed stays, and work goes on.
 *
 * Checks I33.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import type { CDPSession } from "../support/browser.js";
import { expect_ } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

/** Long enough that a few of them need more than what is set aside already. */
const LONG = "where it lies, and what to look out for. ".repeat(80);
const ROUNDS_MAX = 400;

let world: World;
let dilan: Person;
let disk: CDPSession;
beforeAll(async () => {
  world = await World.make();
  dilan = await world.person("dilan");
  await dilan.addProduct("POT-1", "Clay pot", "7.00");
  await dilan.receive("POT-1", 5, "DN-1");
  await dilan.chip(/All saved to server/);
  disk = await dilan.context.newCDPSession(dilan.page);
});
afterAll(() => world.close());

async function room(bytes: number | null): Promise<void> {
  const origin = dilan.cable.url;
  await disk.send("Storage.overrideQuotaForOrigin", {
    origin,
    ...(bytes === null ? {} : { quotaSize: bytes }),
  });
}

/** Save the description of a product again and again, until the device is full; how often it worked. */
async function fillUp(): Promise<number> {
  const { page } = dilan;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    await dilan.open("POT-1");
    await page.getByRole("link", { name: "Edit" }).click();
    await page.getByLabel("Description").fill(`${round}: ${LONG}`);
    await page.getByRole("button", { name: "Save" }).click();
    const full = page.getByRole("alert").getByText("There is no room left on this device");
    await page.locator("[data-on-hand]").or(full).first().waitFor();
    if (await full.isVisible()) return round;
  }
  throw new Error("the device never was full");
}

test("a full device says so, keeps what was typed, and goes on once there is room", async () => {
  const { page } = dilan;
  dilan.cable.pull();
  await room(1);
  const saved = await fillUp();

  // In words, beside the button, and with what to do; the form is as it was.
  await expect_(page.getByRole("alert"), /Make some room.*What you typed is still here/);
  const words = (await page.getByRole("alert").first().textContent()) ?? "";
  expect(words).not.toMatch(/quota|disk I\/O|SQLITE|database_full/i);
  expect(await page.getByLabel("Description").inputValue()).toBe(`${saved}: ${LONG}`);
  // Nothing is half done: no row, no change that waits for it.
  await dilan.chip(
    saved === 0 ? /Working without connection, as of/ : new RegExp(`: ${saved} change`),
  );

  // Reading goes on; other screens say the same, and keep what was typed.
  await dilan.open("POT-1");
  await dilan.onHand(5);
  await page.getByRole("link", { name: "Adjust" }).click();
  await page.getByLabel("What you see on the shelf").fill("3");
  await page.getByRole("radio", { name: "Damaged" }).check();
  await page.getByLabel("Note (optional)").fill(LONG.slice(0, 390));
  await page.getByRole("button", { name: /^Record/ }).click();
  await expect_(page.getByRole("alert"), /There is no room left on this device/);
  expect(await page.getByLabel("What you see on the shelf").inputValue()).toBe("3");

  // There is room again: the same button works.
  await room(null);
  await page.getByRole("button", { name: /^Record/ }).click();
  await page.getByText(/Recorded .* saved on this device/).waitFor();
  await dilan.onHand(3);
  await dilan.chip(new RegExp(`: ${saved + 1} changes? kept on this device`));
  dilan.cable.plug();
  await dilan.chip(/All saved to server/);
  expect(await world.server("SELECT quantity FROM movement WHERE note <> ''")).toEqual([[-2]]);
  await dilan.agrees();
});

test("news that do not fit are told as such, and come later", async () => {
  const ada = await world.person("ada", { store: "Harbour Street" });
  await room(1);
  let round = 0;
  const full = dilan.page.locator("[data-chip]", { hasText: "This device is full" });
  while (!(await full.isVisible())) {
    expect(round).toBeLessThan(ROUNDS_MAX);
    await ada.edit("POT-1", { Description: `${(round += 1)}, from elsewhere: ${LONG}` });
    await ada.chip(/All saved to server/);
    const known = dilan.page.getByText(`${round}, from elsewhere`);
    await dilan.open("POT-1");
    await known.or(full).first().waitFor();
  }
  await room(null);
  await dilan.to("sync");
  await dilan.page.getByRole("button", { name: "Send now" }).click();
  await dilan.chip(/All saved to server/);
  await dilan.agrees();
});
