/**
 * What all deeds have in common: who throws the dice, who keeps the book, and how a click is answered.
 *
 * Knows: toasts, and what stands beside a button. Must not know: what a deed is about.
 */

import type { Locator } from "../browser.js";
import type { Book } from "./book.js";
import type { Dice } from "./dice.js";
import type { Hand } from "./hand.js";

export interface Scene {
  readonly dice: Dice;
  readonly book: Book;
}

/** What ends a tab, or all of them, right behind the click that saves. */
export type Ending = "close" | "crash" | "reload" | "kill";

export const SKUS = Array.from({ length: 7 }, (_, at) => `MK-${at + 1}`);
export const CODES = [
  "4000000001003",
  "4000000001010",
  "4000000001027",
  "4000000001034",
  "4000000001041",
];
/** Nothing was changed, and it says so. */
export const TRY_AGAIN = /Another tab was closed at that moment|That took too long/;

export interface Product {
  readonly id: string;
  readonly sku: string;
}

/** A product of the monkey's that this device knows. */
export async function some(scene: Scene, hand: Hand): Promise<Product | null> {
  const rows = await hand.ask("SELECT id, sku FROM product WHERE sku LIKE 'MK-%' ORDER BY sku");
  if (rows.length === 0) return null;
  const [id, sku] = scene.dice.one(rows);
  return { id: id ?? "", sku: sku ?? "" };
}

/** What was said before has been read. */
export async function quiet(hand: Hand): Promise<void> {
  const close = hand.page.locator(".toast").getByRole("button", { name: "Close" });
  if ((await close.count()) > 0) await close.click({ timeout: 1_000 }).catch(() => undefined);
  await hand.page.locator(".toast").waitFor({ state: "detached" });
}

export const warned = (hand: Hand): Locator =>
  hand.page.getByRole("alert").filter({ hasText: /\S/ });

/** Press it, and give back what is said: in a toast that has these words, or beside the button. */
export async function press(hand: Hand, button: Locator, words: RegExp): Promise<string> {
  const good = hand.page.locator(".toast").filter({ hasText: words });
  for (;;) {
    await quiet(hand);
    await button.click();
    await good.or(warned(hand)).or(hand.page.locator(".toast.bad")).first().waitFor();
    const told =
      (await good.or(warned(hand)).or(hand.page.locator(".toast.bad")).first().textContent()) ?? "";
    if (!TRY_AGAIN.test(told)) return told.trim();
  }
}

/** Press it, and end before it can answer. */
export async function pressAndEnd(hand: Hand, button: Locator, ending: Ending): Promise<void> {
  await button.click();
  await end(hand, ending);
}

export async function end(hand: Hand, ending: Ending): Promise<void> {
  if (ending === "reload") await hand.reload();
  else if (ending === "kill") await hand.kill();
  else await hand.closeTab(ending);
}

export async function open(hand: Hand, { id, sku }: Product): Promise<void> {
  await hand.person.to("stock");
  await hand.page.getByRole("searchbox").fill(sku);
  await hand.page.locator(`a[href="#/product/${id}"]`).first().click();
  await hand.page.locator("[data-on-hand]").waitFor();
}
