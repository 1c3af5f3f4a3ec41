/**
 * What people do in Saved work and Needs you, and what they decide there.
 *
 * Knows: its screens, and what may be said there. Must not know: how the line is: what is asked of the
 * server may fail, and is then told in words.
 */

import { expect } from "vitest";

import { until } from "../browser.js";
import { quiet, type Scene, SKUS } from "./scene.js";
import type { Hand } from "./hand.js";

async function said(hand: Hand): Promise<string> {
  await hand.page.locator(".toast").first().waitFor({ timeout: 45_000 });
  return ((await hand.page.locator(".toast").first().textContent()) ?? "").trim();
}

/** Words for people, not for those who made it. */
const plain = (told: string): void =>
  expect(told).not.toMatch(/undefined|null|\[object|Error:|That did not work|constraint/i);

export async function sendNow(_: Scene, hand: Hand): Promise<string> {
  await hand.person.to("sync");
  const button = hand.page.getByRole("button", { name: "Send now" });
  await button.waitFor();
  await quiet(hand);
  await button.click();
  const told = await said(hand);
  plain(told);
  return `sent: ${told}`;
}

export async function verifyNow(_: Scene, hand: Hand): Promise<string> {
  await hand.person.to("saved/device");
  const button = hand.page.getByRole("button", { name: "Verify now" });
  await button.waitFor();
  await quiet(hand);
  await button.click();
  const told =
    (await hand.page.locator("[data-verification]").textContent({ timeout: 45_000 })) ?? "";
  plain(told);
  expect(told, "nothing ever differs").not.toMatch(/differ/);
  return `verified: ${told}`;
}

export async function stayOffline(_: Scene, hand: Hand): Promise<string> {
  await hand.person.to("saved/device");
  const toggle = hand.page.getByRole("switch", { name: /Stay offline/ });
  await toggle.waitFor();
  const was = (await hand.status()).state === "paused";
  await until("the switch shows how it is", async () => (await toggle.isChecked()) === was);
  await toggle.click();
  await until("the switch does what it says", async () => {
    const { state } = await hand.status();
    return (state === "paused") !== was && (await toggle.isChecked()) !== was;
  });
  return was ? "goes online again" : "stays offline";
}

/** Signing out is not possible while anything of this device would be lost; else somebody thinks again. */
export async function nearlySignOut(_: Scene, hand: Hand): Promise<string> {
  await hand.person.to("settings");
  const out = hand.page.getByRole("button", { name: "Sign out", exact: true });
  await out.waitFor();
  const { pending, sent, refused, held } = await hand.status();
  if (pending + sent + refused + held === 0) {
    if (await out.isDisabled()) return "may not sign out yet";
    await out.click();
    await hand.page.getByRole("button", { name: "Cancel" }).click();
    return "nearly signed out";
  }
  await until("signing out is not possible", async () => {
    const now = await hand.status();
    const left = now.pending + now.sent + now.refused + now.held;
    return left === 0 || (await out.isDisabled());
  });
  return "may not sign out";
}

async function toInbox(hand: Hand): Promise<void> {
  await hand.person.to("needs");
  await hand.page.locator('[aria-current=page][href="#/needs"]').waitFor();
}

export async function settle(scene: Scene, hand: Hand): Promise<string> {
  const { dice, book } = scene;
  await toInbox(hand);
  const cards = hand.page.locator("[data-conflict]");
  await until("what is in conflict can be decided", async () => {
    return (await cards.count()) > 0 || (await hand.status()).conflicts === 0;
  });
  if ((await cards.count()) === 0) return "nothing to settle";
  const card = cards.first();
  const column = (await card.getAttribute("data-conflict")) ?? "";
  const conflicts = await hand.ask(
    "SELECT row_key, column_name FROM holdfast_conflict WHERE state = 'open'",
  );
  for (const [key, names] of conflicts)
    for (const name of String(names).split(",")) book.disputed.add(`${key} ${name}`);
  await quiet(hand);
  const typable = (await card.getByLabel("Or type another").count()) > 0;
  if (column === "price" && typable && dice.chance(0.4)) {
    await card.getByLabel("Or type another").fill(`${dice.whole(10_000, 99_999)}.00`);
    await card.getByRole("button", { name: "Use it" }).click();
  } else await card.getByRole("button", { name: /^Keep/ }).nth(dice.whole(0, 1)).click();
  const told = await said(hand);
  expect(told).toMatch(/Decided, saved|decided this already|has this value already/);
  return `settled ${column}: ${told}`;
}

export async function mend(scene: Scene, hand: Hand): Promise<string> {
  const { dice, book } = scene;
  const waiting = await hand.refused();
  await toInbox(hand);
  if (waiting.length === 0) return "nothing to mend";
  const item = dice.one(waiting);
  for (const change of item.changes)
    for (const name of Object.keys(change.new)) book.disputed.add(`${change.key} ${name}`);
  const card = hand.page.locator(`[data-refused="${item.id}"]`);
  // What waits behind another is shown below it.
  for (const more of await hand.page.locator("details[data-behind]:not([open])").all())
    await more.locator("summary").first().click();
  await card.waitFor();
  await quiet(hand);
  const other = card.getByLabel("Another SKU");
  if ((await other.count()) > 0 && dice.chance(0.5)) {
    await other.fill(dice.chance(0.5) ? `MK-${dice.whole(100, 999)}` : dice.one(SKUS));
    await card.getByRole("button", { name: "Use it" }).click();
    const taken = card.getByText(/is there already/);
    await hand.page.locator(".toast").or(taken).first().waitFor();
    if ((await taken.count()) > 0) return "another SKU: taken as well";
    return `another SKU: ${await said(hand)}`;
  }
  if (dice.chance(0.5)) {
    await card.getByRole("button", { name: "Try again" }).click();
    const told = await said(hand);
    plain(told);
    return `tried again ${item.code}: ${told}`;
  }
  await card.getByRole("button", { name: "Discard…" }).click();
  await card.getByRole("button", { name: "Yes, discard" }).click();
  const told = await said(hand);
  plain(told);
  if (!/Discarded/.test(told)) return `not discarded: ${told}`;
  for (const { table, key, new: made } of item.changes) {
    if (table === "product") book.products.set(key, "given up");
    if (table !== "movement") continue;
    book.giveUp(String(made["document"]));
    book.giveUp(String(made["note"]));
    if (made["reverses"] != null) book.undone.set(String(made["reverses"]), "given up");
  }
  return `discarded ${item.code}`;
}

export async function signInAgain(_: Scene, hand: Hand): Promise<string> {
  if ((await hand.status()).state !== "needs_sign_in") return "is signed in";
  await hand.person.signInAgain();
  await until("the sign-in is known", async () => (await hand.status()).state !== "needs_sign_in");
  return "signed in again";
}

/** Out, and in again as a new device: everything that was done before has to be there. */
export async function signOut(_: Scene, hand: Hand): Promise<string> {
  const { state, pending, sent, refused, held } = await hand.status();
  if (!hand.isWell || state !== "online" || pending + sent + refused + held > 0)
    return "stays signed in";
  await hand.person.to("settings");
  await hand.page.getByRole("button", { name: "Sign out", exact: true }).click();
  const yes = hand.page.getByRole("button", { name: "Yes, sign out" });
  await yes.click();
  await hand.allSignedOut();
  return "signed out, and in again";
}
