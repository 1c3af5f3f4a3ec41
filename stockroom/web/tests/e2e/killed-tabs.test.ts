/**
 * Two tabs share one outbox, and either is killed while it is being sent: sent once, nothing lost.
 *
 * Checks I35.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Person, World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

/** A renderer that is gone answers nothing, and its worker with it. */
async function crash(person: Person): Promise<void> {
  const session = await person.context.newCDPSession(person.page);
  const gone = new Promise<void>((crashed) => person.page.on("crash", () => crashed()));
  void session.send("Page.crash").catch(() => undefined);
  await gone;
}

test.each([
  ["the tab that sends", "OIL-1", 0],
  ["the tab that wrote", "OIL-2", 1],
])(
  "%s is killed while the server has the changes and the answer is on its way",
  async (_, sku, killed) => {
    // The first tab has the replica's file, and sends for both.
    const first = await world.person("dilan", { stand: true });
    const second = new Person("dilan", first.context, await first.context.newPage(), first.way);
    await second.page.goto(first.cable.url);
    await second.page.getByRole("searchbox").waitFor();
    await second.addProduct(sku, `Olive oil ${sku}`, "9.90");
    await second.chip(/All saved to server/);
    await first.open(sku);

    first.stand.next("hold");
    await second.receive(sku, 6, sku);
    await first.onHand(6);
    await first.stand.metBy(1);
    const [victim, survivor] = killed === 0 ? [first, second] : [second, first];
    await crash(victim);
    first.stand.release();

    await survivor.open(sku);
    await survivor.onHand(6);
    await survivor.chip(/All saved to server/);
    expect(await world.server(`SELECT quantity FROM movement WHERE document = '${sku}'`)).toEqual([
      [6],
    ]);
    await survivor.adjustTo(sku, 5);
    await survivor.chip(/All saved to server/);
    await survivor.agrees();
  },
);
