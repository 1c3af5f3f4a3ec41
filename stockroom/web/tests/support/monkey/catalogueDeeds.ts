/**
 * What people do with the catalogue, through its screens: search, look, add, edit.
 *
 * Knows: the screens, and what each of them has to say afterwards. Must not know: how the line is. Local
 * work never waits for it: whatever the line does, each deed is answered with "saved" or with a reason.
 */

import { expect } from "vitest";

import { type Locator, until } from "../browser.js";
import type { Hand } from "./hand.js";
import {
  CODES,
  type Ending,
  open,
  pressAndEnd,
  quiet,
  type Scene,
  SKUS,
  some,
  TRY_AGAIN,
  warned,
} from "./scene.js";

export async function look(scene: Scene, hand: Hand): Promise<string> {
  const product = await some(scene, hand);
  if (product === null) return "nothing to look at";
  await open(hand, product);
  const sum =
    "SELECT coalesce(sum(quantity), 0) FROM movement WHERE store_id = '1' AND product_id = " +
    `'${product.id}'`;
  await until(`${hand.name}'s sheet of ${product.sku} shows what the ledger says`, async () => {
    const [[stored = ""] = []] = await hand.ask(sum);
    const shown = (await hand.page.locator("[data-on-hand]").textContent()) ?? "";
    return shown.trim() === new Intl.NumberFormat("en").format(Number(stored));
  });
  return `looked at ${product.sku}`;
}

export async function search(scene: Scene, hand: Hand): Promise<string> {
  const product = await some(scene, hand);
  const typed = product === null || scene.dice.chance(0.3) ? "Thing" : product.sku;
  await hand.person.to("stock");
  await hand.page.getByRole("searchbox").fill(typed);
  await hand.page.locator(`[data-shown="${typed}"]`).waitFor();
  if (product !== null && typed === product.sku)
    await hand.page.locator(`a[href="#/product/${product.id}"]`).first().waitFor();
  return `searched for ${typed}`;
}

async function startOver(hand: Hand): Promise<void> {
  await hand.page.getByLabel("Name", { exact: true }).waitFor();
  const over = hand.page.getByRole("button", { name: "Start over" });
  if ((await over.count()) > 0) {
    await over.click();
    await over.waitFor({ state: "detached" });
  }
}

/** Save the form of a product; what is said, or "" when a code of it is somebody else's. */
async function saveForm(hand: Hand): Promise<string> {
  const taken = hand.page.getByText(/is there already|has this barcode already/);
  const good = hand.page.locator(".toast").filter({ hasText: /Saved on this device/ });
  for (;;) {
    await quiet(hand);
    await hand.page.getByRole("button", { name: "Save" }).click();
    const any = good.or(warned(hand)).or(taken).first();
    await any.waitFor();
    const told = (await any.textContent()) ?? "";
    if (/is there already|has this barcode/.test(told)) return "";
    if (!TRY_AGAIN.test(told)) return told.trim();
  }
}

const field = (hand: Hand, label: string): Locator => hand.page.getByLabel(label, { exact: true });

async function addCode(scene: Scene, hand: Hand): Promise<void> {
  const code = scene.dice.one(CODES);
  const added = hand.page.getByRole("button", { name: `Remove barcode ${code}` });
  const taken = hand.page.getByText("has this barcode already");
  const doubted = hand.page.getByText(`The last digit of ${code} does not fit`);
  const add = (): Promise<void> => hand.page.getByRole("button", { name: "Add barcode" }).click();
  await field(hand, "Barcode").fill(code);
  await add();
  await added.or(taken).or(doubted).first().waitFor();
  if (!(await doubted.isVisible())) return;
  await add(); // it is meant so
  await added.or(taken).first().waitFor();
}

export async function addProduct(scene: Scene, hand: Hand, ending: Ending | null): Promise<string> {
  const { dice, book } = scene;
  const sku = dice.one(SKUS);
  await hand.person.to("product/new");
  await startOver(hand);
  await field(hand, "Name").fill(`Thing ${dice.whole(1, 99)}`);
  await field(hand, "SKU").fill(sku);
  await field(hand, "Price").fill(`${dice.whole(1, 99)}.00`);
  if (dice.chance(0.4)) await addCode(scene, hand);
  const cancel = hand.page.getByRole("button", { name: "Cancel" });
  const what = `added ${sku}`;
  if (ending !== null) {
    await pressAndEnd(hand, hand.page.getByRole("button", { name: "Save" }), ending);
    return `${what}?`;
  }
  const told = await saveForm(hand);
  if (told === "") {
    await cancel.click();
    return `${what}: taken`;
  }
  expect(told).toMatch(/Saved on this device/);
  await hand.page.locator("[data-on-hand]").waitFor();
  const id = new URL(hand.page.url()).hash.split("/")[2] ?? "";
  book.products.set(id, "saved");
  return what;
}

export async function edit(scene: Scene, hand: Hand, ending: Ending | null): Promise<string> {
  const { dice, book } = scene;
  const product = await some(scene, hand);
  if (product === null) return "nothing to edit";
  await open(hand, product);
  await hand.page.getByRole("link", { name: "Edit" }).click();
  await startOver(hand);
  const fields: [string, string][] = [];
  if (dice.chance(0.5)) fields.push(["Price", `${dice.whole(100, 9_999)}.00`]);
  if (dice.chance(0.3)) fields.push(["Name", `Thing ${dice.whole(100, 9_999)}`]);
  if (dice.chance(0.3)) fields.push(["Shelf", `S${dice.whole(100, 9_999)}`]);
  if (dice.chance(0.3)) fields.push(["SKU", dice.one(SKUS)]);
  if (dice.chance(0.15)) fields.push(["Currency", dice.one(["EUR", "USD", "GBP"])]);
  for (const [label, value] of fields) await field(hand, label).fill(value);
  if (dice.chance(0.3)) await addCode(scene, hand);
  const remove = hand.page.getByRole("button", { name: /^Remove barcode/ });
  if (dice.chance(0.2) && (await remove.count()) > 0) await remove.first().click();
  const what = `edited ${product.sku}: ${fields.map((one) => one.join(" ")).join(", ")}`;
  const written = (certainty: "saved" | "maybe"): void => {
    for (const [label, value] of fields)
      book.edited(product.id, label, hand.name, value, certainty);
  };
  if (ending !== null) {
    written("maybe");
    await pressAndEnd(hand, hand.page.getByRole("button", { name: "Save" }), ending);
    return `${what}?`;
  }
  let told = await saveForm(hand);
  if (/somebody has changed this product meanwhile/.test(told)) told = await saveForm(hand);
  if (/Saved on this device/.test(told)) {
    written("saved");
    await hand.page.locator("[data-on-hand]").waitFor();
    return what;
  }
  if (told !== "") expect(told).toMatch(/meanwhile/);
  await hand.page.getByRole("button", { name: "Cancel" }).click();
  return `${what}: not saved`;
}
