/**
 * What must hold after every step, and what must hold when all has come to rest.
 *
 * Knows: the invariants that a person relies on. Must not know: how anything came about.
 */

import { expect } from "vitest";

import type { Status } from "../../../../../browser/src/index.js";
import { until } from "../browser.js";
import type { World } from "../world.js";
import type { Scene } from "./scene.js";
import type { Hand } from "./hand.js";
import type { Till } from "./till.js";
import { heal } from "./trouble.js";

/** What one sends, the others have to hear; and what comes in may set one of their own aside. */
const ROUNDS = 2;

/** What the chip has to say of a status, or must not. */
function isTold(words: string, status: Status): boolean {
  const unsent = status.pending + status.sent;
  const needs = status.conflicts + status.refused + status.held;
  if (unsent + needs > 0 && /All saved/.test(words)) return false;
  // What belongs together, such as a delivery, is one thing of many changes.
  const some = (told: number, of: number): boolean =>
    of === 0 ? told === 0 : told > 0 && told <= of;
  const kept = Number(/(\d+) changes? kept/.exec(words)?.[1] ?? 0);
  switch (status.state) {
    case "needs_sign_in":
      return /^Sign in again/.test(words) && some(kept, unsent);
    case "paused":
      return /^Staying offline/.test(words) && some(kept, unsent);
    case "offline":
    case "waiting":
      return some(kept, unsent) && !/All saved|^Sending/.test(words);
    case "needs_upgrade":
    case "needs_attention":
      return false;
    default:
      if (status.sent > 0)
        return some(Number(/^Sending \d+ of (\d+)/.exec(words)?.[1] ?? 0), unsent);
      if (unsent > 0)
        return some(Number(/^(\d+) changes? waits? to be sent/.exec(words)?.[1] ?? 0), unsent);
      if (needs > 0) return /^\d+ needs? you/.test(words);
      // Goods that may have been received twice are asked about, too, and are no part of the status.
      return /^(All saved to server|Looking for the server|\d+ needs? you)/.test(words);
  }
}

/** Nothing has gone wrong unseen, and the chip tells the truth. */
export async function afterStep(scene: Scene, hand: Hand): Promise<void> {
  expect(hand.complaints, `what ${hand.name}'s pages complain of`).toEqual([]);
  let last = "";
  await until(`${hand.name}'s chip tells the truth`, async () => {
    const before = await hand.status();
    const words = ((await hand.page.locator("[data-chip]").textContent()) ?? "").trim();
    last = `${words} | ${JSON.stringify(before)}`;
    return isTold(words, before);
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}; at last: ${last}`);
  });
  await keepsItsWord(scene, hand);
}

/** What this device said is saved is here, or in its inbox. */
async function keepsItsWord(scene: Scene, hand: Hand): Promise<void> {
  const promised = scene.book.all.filter(
    (one) => one.hand === hand.name && one.certainty === "saved",
  );
  const here = new Set(
    (await hand.ask("SELECT document FROM movement UNION ALL SELECT note FROM movement")).flat(),
  );
  const away = promised.filter(({ tag }) => !here.has(tag));
  if (away.length === 0) return;
  const inbox = JSON.stringify(await hand.refused());
  expect(
    away.map(({ tag }) => tag).filter((tag) => !inbox.includes(`"${tag}"`)),
    `${hand.name} was told that these are saved`,
  ).toEqual([]);
}

const STOCK = "SELECT product_id, sum(quantity) FROM";
const OF_STORE = "WHERE store_id = '1' GROUP BY 1 HAVING sum(quantity) <> 0 ORDER BY 1";
/** What all of them hold alike; stock on hand is what the ledger says. */
const SAME = {
  product: "SELECT * FROM product ORDER BY id",
  barcode: "SELECT * FROM barcode ORDER BY code",
  location: "SELECT * FROM location ORDER BY id",
  movement: "SELECT * FROM movement WHERE store_id = '1' ORDER BY id",
  stock: `${STOCK} movement ${OF_STORE}`,
} as const;
const CACHE = `${STOCK} stock_on_hand ${OF_STORE}`;
const QUESTIONS: readonly string[] = Object.values(SAME);
const MOVED =
  "SELECT document, note, quantity, reverses FROM movement WHERE document LIKE '_-%' " +
  "OR note LIKE '_-%' OR reverses IS NOT NULL";
const PRODUCTS = "SELECT id, name, sku, price, shelf FROM product";

type Rows = readonly (readonly unknown[])[];
const texts = (rows: Rows): (string | null)[][] =>
  rows.map((row) => row.map((value) => (value === null ? null : String(value))));

/** Heal every line, let everybody send what they have, and look whether all is as it must be. */
export async function atRest(
  world: World,
  scene: Scene,
  hands: readonly Hand[],
  till: Till,
): Promise<void> {
  for (const hand of hands) {
    await heal(hand);
    if ((await hand.status()).state === "paused") {
      await hand.person.to("saved/device");
      await hand.page.getByRole("switch", { name: /Stay offline/ }).click();
    }
    await until(`${hand.name} hears of the server`, async () => {
      const { state } = await hand.status();
      return state === "online" || state === "needs_sign_in";
    });
    if ((await hand.status()).state === "needs_sign_in") await hand.person.signInAgain();
  }
  for (let round = 1; round <= ROUNDS; round += 1) {
    for (const hand of hands) {
      await hand.person.to("sync");
      await hand.page.getByRole("button", { name: "Send now" }).click();
      await until(`${hand.name} has sent everything`, async () => {
        const { pending, sent, state } = await hand.status();
        return pending + sent === 0 && state === "online";
      });
    }
    await till.sync();
  }
  const here = "SELECT count(*) FROM movement WHERE store_id = '1'";
  const [[count] = []] = await world.server(here);
  for (const hand of hands) {
    await until(`${hand.name} has what the server has`, async () => {
      return (await hand.ask(here))[0]?.[0] === String(count);
    });
    await hand.person.agrees();
    await afterStep(scene, hand);
  }
  expect((await till.verify())["repaired"], "the till held what the server holds").toBe(0);

  const inboxes = [...(await Promise.all(hands.map((hand) => hand.refused()))).flat()];
  const tillInbox = JSON.stringify(await till.refused());
  const [moved = [], products = [], ...there] = await world.tables(world.database, [
    MOVED,
    PRODUCTS,
    ...QUESTIONS,
  ]);
  await equal(there, hands, till);
  const inbox = `${JSON.stringify(inboxes)}${tillInbox}`;
  movedOnce(moved, scene, inbox);
  keptProducts(products, scene, inbox);
}

async function equal(there: readonly Rows[], hands: readonly Hand[], till: Till): Promise<void> {
  const questions = [...QUESTIONS, CACHE];
  const expected = [...there, there.at(-1) ?? []].map(texts);
  for (const hand of hands)
    for (const [at, sql] of questions.entries())
      expect(await hand.ask(sql), `${hand.name}: ${sql}`).toEqual(expected[at]);
  for (const [at, rows] of (await till.ask(questions)).entries())
    expect(texts(rows), `the till: ${questions[at]}`).toEqual(expected[at]);
}

/** Each thing that was said to be saved happened once, or waits in an inbox, or was given up. */
function movedOnce(moved: Rows, { book }: Scene, inbox: string): void {
  for (const { tag, certainty, quantities } of book.all) {
    const found = moved
      .filter(
        ([document, note, , reverses]) => reverses === null && (document === tag || note === tag),
      )
      .map(([, , quantity]) => Number(quantity));
    const waits = inbox.includes(`"${tag}"`);
    if (certainty === "given up" || waits) expect(found, `${tag} did not go in`).toEqual([]);
    else if (certainty === "saved") expect(found, `${tag} happened once`).toEqual(quantities);
    else {
      expect(found.length, `${tag} happened once at most`).toBeLessThanOrEqual(1);
      if (found.length === 1 && quantities !== null) expect(found, tag).toEqual(quantities);
    }
  }
  const reversed = moved.map(([, , , reverses]) => reverses).filter((id) => id !== null);
  expect(new Set(reversed).size, "nothing is undone twice").toBe(reversed.length);
  for (const [id, certainty] of book.undone)
    if (certainty === "saved" && !inbox.includes(id)) expect(reversed).toContain(id);
}

/** No product is lost, and nobody's work on one that nobody else has touched. */
function keptProducts(products: Rows, { book }: Scene, inbox: string): void {
  const known = new Map(
    products.map(([id, name, sku, price, shelf]) => [String(id), { name, sku, price, shelf }]),
  );
  for (const [id, certainty] of book.products)
    if (certainty === "saved" && !inbox.includes(id)) expect([...known.keys()]).toContain(id);
  for (const [key, value] of book.lastWords) {
    const [id = "", column = ""] = key.split(" ");
    if (!book.common.has(id) || inbox.includes(id)) continue;
    const product = known.get(id);
    const stored = { ...product }[column as "name"];
    if (column === "currency") continue;
    const told = column === "price" ? String(Number(value) * 100) : value;
    expect(String(stored), `the only hand that wrote ${key} wrote this last`).toBe(told);
  }
}
