/**
 * A link that holds for moments only, thirty times: nothing is doubled, and the chip never lies.
 *
 * Checks I29.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_, until } from "../support/browser.js";
import { World } from "../support/world.js";

const CONNECTIONS = 30;
/** From cuts within a request to connections that are good for a whole exchange, by turns. */
const BYTES = [150, 900, 2_500, 6_000, 400, 12_000];

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

test("thirty short connections while somebody works", async () => {
  const dilan = await world.person("dilan");
  const { page, cable } = dilan;
  await dilan.addProduct("ICE-1", "Ice", "1.00");
  await dilan.chip(/All saved to server/);
  const taken = async (): Promise<number> => {
    const [row] = await world.server("SELECT count(*) FROM movement WHERE document LIKE 'I-%'");
    return Number(row?.[0]);
  };
  const keeps = async (): Promise<number> =>
    Number(
      /(\d+) changes? kept/.exec((await page.locator("[data-chip]").textContent()) ?? "")?.[1],
    );
  cable.pull();

  const said: number[] = [];
  for (let round = 1; round <= CONNECTIONS; round += 1) {
    await dilan.receive("ICE-1", 1, `I-${round}`);
    // What was just done cannot have been sent: whatever else is true, it is kept here.
    await dilan.chip(/\d+ changes? kept on this device/);
    const kept = await keeps();
    said.push(kept);
    // What it says it keeps and what the server has are together at least all there is, as soon as
    // it says anything of the last one.
    if (round % 10 === 0)
      await until("all are kept or taken", async () => (await keeps()) + (await taken()) >= round);
    // A shipment is a draft that grows, and still one thing.
    expect(kept).toBeLessThanOrEqual(round);

    await dilan.to("sync");
    let isOver = false;
    const over = cable.plugFor(BYTES[round % BYTES.length] ?? 0).then(() => (isOver = true));
    // Somebody who is waiting for it presses the button, too: with one hand.
    const send = page.getByRole("button", { name: "Send now" });
    do await pressed(send);
    while (!isOver);
    await over;
  }
  // Some connections were good for an exchange, and some were not.
  expect(Math.max(...said)).toBeGreaterThan(1);
  expect(said.some((kept, at) => at > 0 && kept <= (said[at - 1] ?? 0))).toBe(true);

  cable.plug();
  await page.getByRole("button", { name: "Send now" }).click();
  await dilan.chip(/All saved to server/);
  expect(await taken()).toBe(CONNECTIONS);
  await dilan.open("ICE-1");
  await dilan.onHand(CONNECTIONS);
  expect(await page.locator("li.entry").count()).toBe(CONNECTIONS);
  await expect_(page.locator("li.entry").first(), /I-30/);
  await dilan.agrees();
});

/** Press it as soon as it can be pressed; answers that the connection may not be over yet. */
async function pressed(
  button: ReturnType<import("../support/browser.js").Page["locator"]>,
): Promise<void> {
  await button.click({ timeout: 2_000 }).catch(() => undefined);
}
