/** Two devices that both write offline: every quantity counts once, in any order, however often sent. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { type Person, World } from "../support/world.js";

let world: World;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  dilan = await world.person("dilan", { stand: true });
  await world.enrolDevice("till.db", "dilan", "1");
});
afterAll(() => world.close());

test.each([
  ["the browser first", "JAM-1", true],
  ["the till first", "JAM-2", false],
])("-3 here and -2 there from 10 are 5 everywhere: %s", async (_, sku, browserFirst) => {
  await dilan.addProduct(sku, `Plum jam ${sku}`, "3.40");
  await dilan.receive(sku, 10);
  await dilan.chip(/All saved to server/);
  await world.device("till.db", "sync");

  dilan.cable.pull();
  await dilan.adjustTo(sku, 7);
  await world.device("till.db", "adjust", sku, "--by", "-2", "--reason", "sale");
  const sendFromBrowser = async (): Promise<void> => {
    // Two answers are lost on the way: what they told is sent again.
    const before = dilan.stand.met.length;
    dilan.stand.next("lose", "lose");
    for (const lost of [1, 2]) {
      await dilan.backOnline();
      await dilan.stand.metBy(before + lost);
    }
    await dilan.backOnline();
    await dilan.chip(/All saved to server/);
  };
  if (browserFirst) await sendFromBrowser();
  await world.device("till.db", "sync");
  if (!browserFirst) {
    await sendFromBrowser();
    await world.device("till.db", "sync");
  }

  await dilan.open(sku);
  await dilan.onHand(5);
  const till = await world.device("till.db", "stock", sku, "--ledger");
  expect(till["on_hand"]).toBe(5);
  const moved =
    "SELECT m.quantity FROM movement AS m JOIN product AS p ON p.id = m.product_id " +
    `WHERE p.sku = '${sku}' ORDER BY 1`;
  expect(await world.server(moved)).toEqual([[-3], [-2], [10]]);
  await dilan.agrees();
});
