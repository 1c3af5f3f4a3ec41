/** A form that was open, or put by, while somebody else changed the product: neither is lost unseen. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_, until } from "../support/browser.js";
import { type Person, World } from "../support/world.js";

let world: World;
let ada: Person;
let mira: Person;
beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
  mira = await world.person("mira");
  await mira.installed();
});
afterAll(() => world.close());

const stored = (sku: string): Promise<unknown[][]> =>
  world.server(`SELECT price, shelf FROM product WHERE sku = '${sku}'`);
const codes = (sku: string): Promise<unknown[][]> =>
  world.server(
    "SELECT b.code FROM barcode AS b JOIN product AS p ON p.id = b.product_id " +
      `WHERE p.sku = '${sku}' ORDER BY b.code`,
  );

/** The form of a product that both have as it is. */
async function openForm(person: Person, sku: string): Promise<void> {
  await person.open(sku);
  await person.page.getByRole("link", { name: "Edit" }).click();
  await person.page.getByRole("heading", { name: "Edit product" }).waitFor();
}

async function addCode(person: Person, code: string): Promise<void> {
  await person.page.getByLabel("Barcode", { exact: true }).fill(code);
  await person.page.getByRole("button", { name: "Add barcode" }).click();
  await person.page.getByRole("button", { name: `Remove barcode ${code}` }).waitFor();
}

/** Another tab of the same device has it by now: what its replica holds, every form of it writes upon. */
async function arrives(person: Person, sku: string, words: RegExp): Promise<void> {
  const other = await person.context.newPage();
  await other.goto(person.cable.url);
  await other.getByRole("searchbox").fill(sku);
  await other.getByRole("link", { name: sku }).first().click();
  await expect_(other.locator("main"), words);
  await other.close();
}

const field = (person: Person, label: string) => person.page.getByLabel(label, { exact: true });
const value = (person: Person, label: string): Promise<string> => field(person, label).inputValue();

/** What is said beside a field, as somebody hears it who does not see the screen. */
async function saidBeside(person: Person, label: string): Promise<string> {
  const described = await field(person, label).getAttribute("aria-describedby");
  return (await person.page.locator(`[id="${described ?? "none"}"]`).textContent()) ?? "";
}

test("a draft keeps what its person changed, and leaves everybody else's work alone", async () => {
  await ada.addProduct("LAMP-1", "Lamp", "4.00");
  await openForm(ada, "LAMP-1");
  await addCode(ada, "4000000000013");
  await ada.page.getByRole("button", { name: "Save" }).click();
  await ada.chip(/All saved to server/);

  await arrives(mira, "LAMP-1", /4000000000013/);
  await openForm(mira, "LAMP-1");
  await field(mira, "Shelf").fill("B7");
  await addCode(mira, "4000000000020");
  await mira.page.getByRole("button", { name: "Remove barcode 4000000000013" }).click();

  await openForm(ada, "LAMP-1");
  await field(ada, "Price").fill("5.00");
  await addCode(ada, "4000000000037");
  await ada.page.getByRole("button", { name: "Save" }).click();
  await ada.chip(/All saved to server/);
  await arrives(mira, "LAMP-1", /€5\.00/);

  await mira.page.reload();
  await mira.page.getByText("Picked up where you left off").waitFor();
  expect(await value(mira, "Shelf")).toBe("B7");
  // Theirs is shown, too.
  expect(await value(mira, "Price")).toBe("5.00");
  await mira.page.getByRole("button", { name: "Remove barcode 4000000000037" }).waitFor();
  await mira.page.getByRole("button", { name: "Save" }).click();
  await mira.page.locator("[data-on-hand]").waitFor();
  await mira.chip(/All saved to server/);
  expect(await stored("LAMP-1")).toEqual([[500, "B7"]]);
  expect(await codes("LAMP-1")).toEqual([["4000000000020"], ["4000000000037"]]);
});

test("a draft of a value that somebody has changed meanwhile is not written over it untold", async () => {
  await ada.addProduct("LAMP-2", "Desk lamp", "4.00");
  await ada.chip(/All saved to server/);
  await openForm(mira, "LAMP-2");
  await field(mira, "Price").fill("4.50");
  await ada.edit("LAMP-2", { Price: "5.00" });
  await ada.chip(/All saved to server/);
  await arrives(mira, "LAMP-2", /€5\.00/);

  await mira.page.reload();
  await mira.page.getByText("Picked up where you left off").waitFor();
  expect(await value(mira, "Price")).toBe("4.50");
  await mira.page.getByRole("button", { name: "Save" }).click();
  await mira.page.getByText("Somebody has changed this to 5.00 meanwhile").waitFor();
  // Whoever starts over has theirs, and nothing to save.
  await mira.page.getByRole("button", { name: "Start over" }).click();
  await until("the price is theirs", async () => (await value(mira, "Price")) === "5.00");
  expect(await mira.page.getByText("Somebody has changed").count()).toBe(0);
  await mira.page.getByRole("button", { name: "Save" }).click();
  await mira.page.locator("[data-on-hand]").waitFor();
  await mira.chip(/All saved to server/);
  expect(await stored("LAMP-2")).toEqual([[500, ""]]);
});

test("an open form tells of the price that came in, and a second Save is a decision", async () => {
  await ada.addProduct("LAMP-3", "Night lamp", "4.00");
  await ada.chip(/All saved to server/);
  await openForm(mira, "LAMP-3");
  await field(mira, "Price").fill("4.50");
  await field(mira, "Shelf").fill("C1");
  await ada.edit("LAMP-3", { Price: "5.00", Unit: "box" });
  await ada.chip(/All saved to server/);
  await arrives(mira, "LAMP-3", /€5\.00/);

  await mira.page.getByRole("button", { name: "Save" }).click();
  const told = "Somebody has changed this to 5.00 meanwhile. Save again to use yours.";
  await mira.page.getByText(told).waitFor();
  expect(await saidBeside(mira, "Price")).toBe(told);
  expect(await field(mira, "Price").getAttribute("aria-invalid")).toBe("true");
  await expect_(mira.page.getByRole("alert"), /somebody has changed this product meanwhile/);
  // Both are there to be seen; what was not touched here is theirs; and nothing is written, the shelf neither.
  expect(await value(mira, "Price")).toBe("4.50");
  expect(await value(mira, "Unit")).toBe("box");
  await mira.chip(/All saved to server/);
  expect(await stored("LAMP-3")).toEqual([[500, ""]]);

  await mira.page.getByRole("button", { name: "Save" }).click();
  await mira.page.locator("[data-on-hand]").waitFor();
  await mira.chip(/All saved to server/);
  expect(await stored("LAMP-3")).toEqual([[450, "C1"]]);
  await ada.open("LAMP-3");
  await ada.page.getByText("€4.50").first().waitFor();
  for (const person of [ada, mira]) {
    // Nobody is asked about it once more.
    await person.chip(/All saved to server/);
    await person.agrees();
  }
});

test("an amount is one of its currency: who changes the one is told of the other", async () => {
  await ada.addProduct("LAMP-5", "Wall lamp", "4.00");
  await ada.chip(/All saved to server/);
  await openForm(mira, "LAMP-5");
  await field(mira, "Price").fill("4.50");
  await ada.edit("LAMP-5", { Currency: "USD" });
  await ada.chip(/All saved to server/);
  await arrives(mira, "LAMP-5", /\$4\.00/);

  // A draft knows as much as an open form.
  await mira.page.reload();
  await mira.page.getByText("Picked up where you left off").waitFor();
  await mira.page.getByRole("button", { name: "Save" }).click();
  await mira.page.getByText("Somebody has changed this to USD meanwhile").waitFor();
  expect(await saidBeside(mira, "Currency")).toMatch(/if your change still fits/);
  expect(await value(mira, "Currency")).toBe("USD");
  expect(await value(mira, "Price")).toBe("4.50");
  expect(await stored("LAMP-5")).toEqual([[400, ""]]);
  await mira.page.getByRole("button", { name: "Save" }).click();
  await mira.page.locator("[data-on-hand]").waitFor();
  await mira.chip(/All saved to server/);
  expect(await world.server("SELECT price, currency FROM product WHERE sku = 'LAMP-5'")).toEqual([
    [450, "USD"],
  ]);
});

test("what earlier versions kept as a draft writes nothing over anybody's work", async () => {
  await ada.addProduct("LAMP-4", "Old lamp", "4.00");
  await ada.chip(/All saved to server/);
  await openForm(mira, "LAMP-4");
  await mira.page.evaluate(() => {
    const [, id = ""] = /product\/([^/]+)\/edit/.exec(location.hash) ?? [];
    const whole = { name: "Old lamp", sku: "LAMP-4", price: "1.00", cost: "", currency: "EUR" };
    const rest = { unit: "piece", shelf: "", description: "", notes: "", archived: false };
    const draft = JSON.stringify({ ...whole, ...rest, codes: [] });
    localStorage.setItem(`stockroom.draft.product.${id}`, draft);
  });
  await mira.page.reload();
  await until("it is as it is stored", async () => (await value(mira, "Price")) === "4.00");
  expect(await mira.page.getByText("Picked up where you left off").count()).toBe(0);
  await until("the old draft is gone", () =>
    mira.page.evaluate(() =>
      Object.keys(localStorage).every((name) => !name.startsWith("stockroom.draft.product")),
    ),
  );
});
