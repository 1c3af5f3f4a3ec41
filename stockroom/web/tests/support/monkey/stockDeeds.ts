/**
 * What people do with stock, through its screens: receive, adjust, undo, scan.
 *
 * Knows: the screens, and what each of them has to say afterwards. Must not know: how the line is. Local
 * work never waits for it: whatever the line does, each deed is answered with "saved".
 */

import { expect } from "vitest";

import { until } from "../browser.js";
import type { Hand } from "./hand.js";
import { CODES, type Ending, open, press, pressAndEnd, quiet, type Scene, some } from "./scene.js";

export async function receive(scene: Scene, hand: Hand, ending: Ending | null): Promise<string> {
  const { dice, book } = scene;
  const { page } = hand;
  const product = await some(scene, hand);
  if (product === null) return "nothing to receive";
  await hand.person.to("receive");
  await page.getByLabel("Delivery note").waitFor();
  await keptList(hand);
  const tag = book.tag("R");
  const quantity = dice.whole(1, 40);
  await page.getByLabel("Delivery note").fill(tag);
  await page.getByLabel("Scan, or search for a product").fill(product.sku);
  await page
    .locator("ul.found button")
    .filter({ has: page.getByText(product.sku, { exact: true }) })
    .click();
  await page.getByRole("spinbutton").first().fill(String(quantity));
  const button = page.getByRole("button", { name: /^Receive \d+ unit/ });
  const what = `received ${quantity} of ${product.sku} as ${tag}`;
  if (ending !== null) {
    book.note({ tag, hand: hand.name, certainty: "maybe", quantities: [quantity] });
    await pressAndEnd(hand, button, ending);
    return `${what}?`;
  }
  expect(await press(hand, button, /saved on this device/)).toMatch(/^Received \d+ unit/);
  book.note({ tag, hand: hand.name, certainty: "saved", quantities: [quantity] });
  return what;
}

/** A list that was kept is one that was not received; somebody throws it away. */
async function keptList(hand: Hand): Promise<void> {
  const clear = hand.page.getByRole("button", { name: "Clear" });
  const note = hand.page.getByLabel("Delivery note");
  if ((await clear.count()) === 0) return;
  const tag = await note.inputValue();
  if (tag !== "") {
    const known = await hand.ask(`SELECT 1 FROM movement WHERE document = '${tag}'`);
    expect(known, `${tag} was received, and is offered to be received once more`).toEqual([]);
  }
  await clear.click();
  await hand.page.getByRole("button", { name: "Yes, put it away" }).click();
  await clear.waitFor({ state: "detached" });
}

export async function adjust(scene: Scene, hand: Hand, ending: Ending | null): Promise<string> {
  const { dice, book } = scene;
  const { page } = hand;
  const product = await some(scene, hand);
  if (product === null) return "nothing to adjust";
  await open(hand, product);
  await page.getByRole("link", { name: "Adjust" }).click();
  await page.locator("[data-now]").filter({ hasText: /\d/ }).waitFor();
  const tag = book.tag("A");
  await page.getByLabel("What you see on the shelf").fill(String(dice.whole(0, 60)));
  await page.getByLabel("Note (optional)").fill(tag);
  const reasons = page.getByRole("radio");
  const choices = await reasons.count();
  if (choices > 0) await reasons.nth(dice.whole(0, choices - 1)).check();
  const button = page.getByRole("button", { name: /^Record/ });
  if (choices === 0) {
    // Not left as a draft.
    await page.getByLabel("Note (optional)").fill("");
    return `${product.sku} is right`;
  }
  const what = `adjusted ${product.sku} as ${tag}`;
  if (ending !== null) {
    book.note({ tag, hand: hand.name, certainty: "maybe", quantities: null });
    await pressAndEnd(hand, button, ending);
    return `${what}?`;
  }
  const told = await press(hand, button, /^ *Recorded .* saved on this device/);
  const by = /Recorded ([+−][\d,]+)/.exec(told)?.[1]?.replace("−", "-").replaceAll(",", "");
  expect(by, told).toBeDefined();
  book.note({ tag, hand: hand.name, certainty: "saved", quantities: [Number(by)] });
  return `${what}: ${by}`;
}

export async function undo(scene: Scene, hand: Hand, ending: Ending | null): Promise<string> {
  const product = await some(scene, hand);
  if (product === null) return "nothing to undo";
  await open(hand, product);
  const buttons = hand.page.getByRole("button", { name: /^Undo / });
  const count = await buttons.count();
  if (count === 0) return `nothing of ${product.sku} to undo`;
  const button = buttons.nth(scene.dice.whole(0, count - 1));
  const sql = `SELECT reverses FROM movement WHERE product_id = '${product.id}' AND reverses <> ''`;
  const reversed = async (): Promise<string[]> => (await hand.ask(sql)).map(([id]) => id ?? "");
  const before = await reversed();
  if (ending !== null) {
    await pressAndEnd(hand, button, ending);
    return `undid something of ${product.sku}?`;
  }
  await quiet(hand);
  await button.click();
  const sure = hand.page.getByRole("button", { name: "Yes, undo it" });
  await hand.page.locator(".toast").first().waitFor();
  // What somebody else has recorded is asked about first.
  if ((await sure.count()) > 0) {
    await sure.click();
    await hand.page.locator(".toast", { hasText: "Undone" }).waitFor();
  }
  expect(await hand.page.locator(".toast").textContent()).toMatch(/Undone, saved/);
  const made = (await reversed()).filter((id) => !before.includes(id));
  expect(made.length, "what was undone has a reversal").toBeGreaterThan(0);
  if (made.length === 1) scene.book.undone.set(made[0] ?? "", "saved");
  return `undid something of ${product.sku}`;
}

export async function scan(scene: Scene, hand: Hand): Promise<string> {
  const { dice } = scene;
  const { page } = hand;
  const code = dice.one(CODES);
  const known = async (): Promise<string | null> => {
    const named =
      "SELECT p.id FROM barcode AS b JOIN product AS p ON p.id = b.product_id WHERE b.code = ";
    return (await hand.ask(`${named}'${code}'`))[0]?.[0] ?? null;
  };
  const screen = dice.one(["stock", "scan", "receive"]);
  await hand.person.to(screen);
  if (dice.chance(0.3)) await hand.reload();
  await page
    .getByRole(screen === "stock" ? "searchbox" : "heading", screen === "stock" ? {} : { level: 1 })
    .first()
    .waitFor();
  if (screen === "receive") await keptList(hand);
  const id = await known();
  await hand.person.scan(code);
  if (screen === "stock") {
    const there = id === null ? "product/new?barcode=" : `product/${id}`;
    await until(`the scan leads to ${there}`, async () =>
      Promise.resolve(page.url().includes(there) || (await known()) !== id),
    );
    if (page.url().includes("product/new"))
      await page.getByRole("button", { name: `Remove barcode ${code}` }).waitFor();
  } else
    await page
      .getByText(id === null ? `No product has the code ${code}` : /×|Your list is kept/)
      .first()
      .waitFor();
  const clear = page.getByRole("button", { name: "Clear", exact: true });
  if (screen !== "stock" && (await clear.count()) > 0) await clear.click();
  return `scanned ${code} at ${screen}`;
}
