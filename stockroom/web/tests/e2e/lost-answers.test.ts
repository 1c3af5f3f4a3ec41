/**
 * The server has committed and the answer is lost, three times over: it happens once.
 *
 * Checks I7.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

test("an answer is lost three times after the commit, and what it told happens once", async () => {
  const dilan = await world.person("dilan", { stand: true });
  await dilan.addProduct("NUT-1", "Walnuts", "6.00");
  await dilan.chip(/All saved to server/);

  dilan.stand.next("hold", "lose", "lose");
  await dilan.adjustTo("NUT-1", 12);
  await dilan.stand.metBy(1);
  // The server has it, the device has not heard so: it says what it knows, and no more.
  const received =
    "SELECT m.quantity FROM movement AS m JOIN product AS p ON p.id = m.product_id WHERE p.sku = 'NUT-1'";
  expect(await world.server(received)).toEqual([[12]]);
  await dilan.chip(/Sending 1 of 1/);
  dilan.stand.release();
  await dilan.stand.metBy(3);
  await dilan.chip(/All saved to server/);

  expect(dilan.stand.met).toEqual(["hold", "lose", "lose"]);
  expect(await world.server(received)).toEqual([[12]]);
  await dilan.open("NUT-1");
  await dilan.onHand(12);
  await dilan.agrees();
});
