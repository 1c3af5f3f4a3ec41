/**
 * A delivery is a document: others see its draft, it is booked and taken back as one, and what two devices have
 * received is asked about. That nothing of a draft is lost, see `whole-scene`.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { until } from "../support/browser.js";
import { Person, World } from "../support/world.js";

/** A code that nobody has. */
const NEW = "4012345678901";
let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

const quantity = (person: Person, name: string) =>
  person.page.getByLabel(`Quantity of ${name}`, { exact: true });

const shows = async (person: Person, name: string, count: number): Promise<void> =>
  await until(
    `${name}: ${count}`,
    async () => (await quantity(person, name).inputValue()) === String(count),
  );

test("counted without a connection, and booked as one", async () => {
  const dilan = await world.person("dilan");
  const { way } = dilan;
  await dilan.addProduct("PEAR-1", "Pear tin", "2.10");
  await dilan.chip(/All saved to server/);
  way.cable.pull();
  await dilan.to("receive");
  // Nobody waits until the first goods are shown: it is one draft. Enter goes on, and books nothing.
  await dilan.scan("PEAR-1");
  await dilan.page.getByLabel("Delivery note").fill("DN-7788");
  await dilan.page.getByLabel("Delivery note").press("Enter");
  await shows(dilan, "Pear tin", 1);
  await dilan.page.getByText(/Kept on this device, not sent yet/).waitFor();
  const find = dilan.page.getByLabel("Scan, or search for a product");
  await find.fill(NEW);
  await find.press("Enter");
  await dilan.page.getByRole("link", { name: "Add it now" }).click();
  await dilan.page.getByLabel("Name", { exact: true }).fill("Plum jam");
  await dilan.page.getByLabel("Price", { exact: true }).fill("3.50");
  await dilan.page.getByLabel("How many came in").fill("12");
  await dilan.page.getByRole("button", { name: "Save" }).click();
  await shows(dilan, "Plum jam", 12);
  expect(await find.inputValue()).toBe("");
  // Saved and counted, and then the browser ended before it knew so: counted once.
  await dilan.page.getByRole("heading", { name: "New product" }).waitFor({ state: "detached" });
  const begun = `stockroom.draft.newGoods..${NEW}`;
  await dilan.page.evaluate(([name, typed]) => localStorage.setItem(name, typed), [
    begun,
    JSON.stringify({
      ...{ code: NEW, name: "Plum jam", sku: NEW },
      ...{ price: "3.50", many: "12", category: "" },
    }),
  ] as const);
  await dilan.page.reload();
  await until("it is not to be typed any more", () =>
    dilan.page.evaluate((name) => localStorage.getItem(name) === null, begun),
  );
  await shows(dilan, "Plum jam", 12);
  expect(await dilan.page.getByRole("heading", { name: "New product" }).count()).toBe(0);

  // What cannot be is said on its line, and the button leads there.
  await quantity(dilan, "Pear tin").fill("2.5");
  await dilan.page.getByText("Whole numbers only").waitFor();
  await dilan.page.getByText("One line needs a look").waitFor();
  for (const [typed, words] of [
    ["", "How many?"],
    ["-3", "A number without a minus"],
    ["9999999999", "At most 1,000,000,000"],
    ["0", "None of it is here"],
    ["50000", "50,000 is much more than there ever was"],
  ] as const) {
    await quantity(dilan, "Pear tin").fill(typed);
    await dilan.page.getByText(words).waitFor();
  }
  await dilan.page.getByRole("button", { name: /^Receive/ }).click();
  expect(await dilan.page.locator(":focus").inputValue()).toBe("50000");
  await quantity(dilan, "Pear tin").fill("24");
  await dilan.page.getByRole("button", { name: "Details" }).last().click();
  await dilan.page.getByLabel("The note says").fill("30");
  await dilan.page.getByLabel("Damaged of them").fill("2");
  await dilan.page.getByLabel("Damaged of them").press("Tab");
  await dilan.page.getByText("6 short").waitFor();
  await dilan.page.getByText("2 damaged").waitFor();
  await dilan.page.getByRole("button", { name: "Receive 36 units" }).click();
  await dilan.page.getByText("Received 36 units, saved on this device").waitFor();
  await dilan.page.getByText("Scan the first item").waitFor();
  await dilan.open("PEAR-1");
  await dilan.onHand(22);

  await dilan.backOnline();
  await dilan.chip(/All saved to server/);
  const booked =
    "SELECT p.name, m.quantity, m.kind FROM movement AS m JOIN product AS p ON p.id = m.product_id " +
    "WHERE m.document = 'DN-7788' ORDER BY 1, 2";
  expect(await world.server(booked)).toEqual([
    ["Pear tin", -2, "damage"],
    ["Pear tin", 24, "receive"],
    ["Plum jam", 12, "receive"],
  ]);
  expect(
    await world.server("SELECT document, status FROM delivery WHERE started_by = 'dilan'"),
  ).toEqual([["DN-7788", "booked"]]);
  await dilan.agrees();

  // Another device has received the same note meanwhile: asked, not counted, and answered.
  const mira = await world.person("mira");
  await mira.open("PEAR-1");
  await mira.onHand(22);
  mira.cable.pull();
  way.cable.pull();
  await mira.receive("PEAR-1", 5, "DN-9");
  await dilan.receive("PEAR-1", 5, "dn-9");
  way.cable.plug();
  await dilan.chip(/All saved to server/);
  mira.cable.plug();
  await mira.open("PEAR-1");
  await mira.onHand(27);
  await mira.to("sync/needs");
  await mira.page.getByRole("heading", { name: "Was it received twice?" }).waitFor();
  await mira.page.getByLabel(/Really two deliveries: 10 came in/).check();
  await mira.page.getByRole("button", { name: "Save this answer" }).click();
  await mira.open("PEAR-1");
  await mira.onHand(32);

  // A draft is seen live by the other, who counts on it; taken back as one.
  await dilan.to("receive");
  await dilan.scan("PEAR-1");
  await mira.to("work");
  await mira.page.getByRole("link", { name: /Dilan Reyes counts, 1 unit/ }).click();
  await mira.page.getByRole("button", { name: "One more Pear tin" }).click();
  await shows(dilan, "Pear tin", 2);
  await dilan.page.getByRole("button", { name: "Receive 2 units" }).click();
  await mira.page.getByText(/Received by Dilan Reyes/).waitFor();
  await dilan.page.getByRole("button", { name: "Undo" }).click();
  await mira.page.getByText(/Taken back by Dilan Reyes/).waitFor();
  await mira.open("PEAR-1");
  await mira.onHand(32);
  for (const person of [dilan, mira]) {
    await person.chip(/All saved to server/);
    await person.agrees();
    expect(person.errors).toEqual([]);
  }
});
