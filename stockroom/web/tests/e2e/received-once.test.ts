/** A list that was received is not offered to be received once more, whatever ended in between. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Person, World } from "../support/world.js";

const KEPT = "stockroom.draft.receive";

let world: World;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  dilan = await world.person("dilan");
});
afterAll(() => world.close());

async function listed(person: Person, sku: string): Promise<void> {
  await person.to("receive");
  await person.page.getByLabel("Scan, or search for a product").fill(sku);
  await person.page.getByRole("button", { name: sku }).first().click();
  await person.page.getByRole("button", { name: "Receive 1 unit" }).waitFor();
}

const empty = (person: Person): Promise<void> =>
  person.page.getByText("Scan the first item").waitFor();

test("a list that an older version has kept becomes a draft, without what was received", async () => {
  await dilan.addProduct("ONCE-1", "Tin", "1.00");
  await listed(dilan, "ONCE-1");
  await dilan.page.getByRole("button", { name: "Receive 1 unit" }).click();
  await dilan.page.getByText(/saved on this device/).waitFor();
  await empty(dilan);
  await dilan.chip(/All saved to server/);
  const [[product, movement] = []] = await world.server(
    "SELECT p.id, m.id FROM product AS p JOIN movement AS m ON m.product_id = p.id WHERE p.sku = 'ONCE-1'",
  );
  const line = { id: product, name: "Tin", sku: "ONCE-1" };
  const lists = [
    { document: "OLD-1", items: [{ ...line, quantity: 1, movement }] },
    { document: "OLD-2", items: [{ ...line, quantity: 3, movement: "not written" }] },
  ];
  // A tab of the older version goes on with its list while this one reads it.
  await dilan.to("stock");
  await dilan.page.evaluate(
    ([name, first, second]) => {
      localStorage.setItem(name, first);
      const read = Storage.prototype.getItem;
      Storage.prototype.getItem = function (key: string): string | null {
        const found = read.call(this, key);
        if (key === name && found === first) this.setItem(name, second);
        return found;
      };
    },
    [KEPT, JSON.stringify(lists[0]), JSON.stringify(lists[1])] as const,
  );
  await dilan.to("receive");
  await empty(dilan);
  for (const screen of ["stock", "receive"]) await dilan.to(screen);
  await dilan.page.getByRole("button", { name: "Receive 3 units" }).waitFor();
  expect(await dilan.page.getByLabel("Delivery note").inputValue()).toBe("OLD-2");
  for (let press = 0; press < 2; press += 1)
    await dilan.page.getByRole("button", { name: /Clear|Yes, put it away/ }).click();
  await empty(dilan);
  await dilan.open("ONCE-1");
  await dilan.onHand(1);
});

test("two tabs have the same list: it is received in one of them", async () => {
  await dilan.addProduct("ONCE-2", "Large tin", "1.00");
  await listed(dilan, "ONCE-2");
  const page = await dilan.context.newPage();
  const other = new Person("dilan", dilan.context, page, dilan.way);
  await page.goto(`${dilan.cable.url}/#/receive`);
  await page.getByRole("button", { name: "Receive 1 unit" }).click();
  await page.getByText(/saved on this device/).waitFor();
  await empty(dilan);
  await other.open("ONCE-2");
  await other.onHand(1);
  await other.chip(/All saved to server/);
  const received =
    "SELECT count(*) FROM movement AS m JOIN product AS p ON p.id = m.product_id WHERE p.sku LIKE 'ONCE-%'";
  expect(await world.server(received)).toEqual([[2]]);
  expect([...dilan.errors, ...other.errors]).toEqual([]);
});
