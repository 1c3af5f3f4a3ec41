/**
 * From an empty database to the first delivery: an employee's own phone, by https and the name of the machine; goods
 * typed where they are scanned; the cable pulled at three places, and the whole browser killed at each tap.
 *
 * Checks I1.
 */

import { createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { Chromium } from "../../../../browser/tests/support/chromium.js";
import { expect_, until } from "../support/browser.js";
import { Person, type Way, World } from "../support/world.js";

const PASSWORD = "quay lantern 4711";
/** Ten browsers are started in each. */
const TEST_MS = 300_000;
const JAM = "4012345678901";
const TEA = "4006381333931";
const BOOKED =
  "SELECT p.name, m.quantity, m.kind, m.person FROM movement AS m JOIN product AS p ON p.id = m.product_id " +
  "WHERE m.document = ? ORDER BY 1, 2";

let world: World;
let owner: Person;
let machine = "";
let trusted = "";
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  world = await World.make({ demo: false, serve: ["--lan"] });
  const [, where = ""] = /certificate authority: (\S+)/.exec(world.said) ?? [];
  const key = new X509Certificate(await readFile(where)).publicKey;
  const mark = createHash("sha256").update(key.export({ type: "spki", format: "der" }));
  trusted = `--ignore-certificate-errors-spki-list=${mark.digest("base64")}`;
  machine = /^ready https:\/\/(?!localhost)([a-z][\w.-]*)/m.exec(world.said)?.[1] ?? "";
  expect(machine).not.toBe("");

  // The owner, at the machine itself.
  const { context, page } = await world.visitor(/set up at (\S+)/.exec(world.said)?.[1]);
  owner = new Person("Ada Marsh", context, page, await world.way());
  await page.getByLabel("Name of the shop").fill("Lantern & S\u00f6hne");
  await page.getByLabel("First store").fill("Harbour Street");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByLabel("Your name").fill(owner.name);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: /^Open Lantern/ }).click();
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("heading", { name: "Your shop is open" }).waitFor();
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(() => world.close());

/** The link by which somebody new comes in. */
async function invited(name: string): Promise<string> {
  const { page } = owner;
  await owner.to("people");
  await page.getByRole("button", { name: "Add a person" }).click();
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByRole("button", { name: "Add and invite" }).click();
  await page.getByRole("heading", { name: `Invitation for ${name}` }).waitFor();
  const link = (await page.getByText(/#\/enrol\//).textContent()) ?? "";
  await page.getByRole("button", { name: "Close" }).click();
  return new URL(link.trim()).hash;
}

/** Somebody's own browser, which trusts the shop and reaches it by a cable. */
class Device {
  readonly browser: Chromium;
  readonly #name: string;
  readonly #way: Way;
  readonly #size: { readonly width: number; readonly height: number };
  readonly errors: string[] = [];
  person!: Person;

  constructor(browser: Chromium, name: string, way: Way, size: Device["size"]) {
    [this.browser, this.#name, this.#way, this.#size] = [browser, name, way, size];
  }

  get size(): { readonly width: number; readonly height: number } {
    return this.#size;
  }

  get page() {
    return this.person.page;
  }

  async open(hash: string): Promise<void> {
    const { context } = this.browser;
    this.person = new Person(this.#name, context, await context.newPage(), this.#way);
    this.page.on("pageerror", (error) => this.errors.push(error.message));
    await this.page.setViewportSize(this.#size);
    await this.page.goto(`https://${machine}:${world.port}/${hash}`);
  }

  /** All processes of the browser are killed, and it is started again. */
  async killed(): Promise<void> {
    await this.browser.kill();
    await this.browser.start();
    await this.open("#/receive");
  }

  async shows(name: string, count: number): Promise<void> {
    const field = this.page.getByLabel(`Quantity of ${name}`, { exact: true });
    // The value is what is written; the text may be being typed.
    const isSo = async (): Promise<boolean> =>
      (await field.inputValue()) === String(count) &&
      (await field.getAttribute("aria-valuenow")) === String(count);
    await until(`${name}: ${count}`, isSo);
  }

  async hasTyped(label: string, typed: string): Promise<void> {
    const field = this.page.getByLabel(label, { exact: true });
    await until(`${label}: ${typed}`, async () => (await field.inputValue()) === typed);
  }
}

/** Its page; stock is a list or a table. */
async function opened({ page }: Person, goods: string): Promise<void> {
  await page.evaluate(() => void (location.hash = "#/stock"));
  await page.getByRole("searchbox").fill(goods);
  await page.locator("main a[href^='#/product/']", { hasText: goods }).first().click();
  await page.locator("[data-on-hand]").waitFor();
}

test.each([
  ["a phone", "Dilan Reyes", 390, 844, "N-1"],
  ["a desktop", "Mira Holt", 1280, 800, "N-2"],
] as const)(
  "a shop's first delivery, on %s",
  async (_, name, width, height, note) => {
    const way = await world.way();
    const rules = `MAP ${machine}:${world.port} 127.0.0.1:${way.cable.port}`;
    const browser = await Chromium.start(trusted, `--host-resolver-rules=${rules}`);
    closing.push(() => browser.close());
    const device = new Device(browser, name, way, { width, height });
    const [jam, tea] = [`Plum jam ${note}`, `Black tea ${note}`];
    const [jamCode, teaCode] = note === "N-1" ? [JAM, TEA] : ["4012345678918", "4012345678925"];

    await device.open(await invited(name));
    await device.page.getByRole("button", { name: "Sign in", exact: true }).click();
    await device.person.start();
    await device.person.installed();
    await device.person.chip(/All saved/);
    await browser.end();
    await browser.start();
    await device.open("#/receive");
    await device.page.getByText("Scan the first item").waitFor();

    // The cable is pulled before the first scan: goods that nobody has yet.
    way.cable.pull();
    await device.person.scan(jamCode);
    await device.page.getByRole("link", { name: "Add it now" }).click();
    await device.page.getByRole("heading", { name: "New product" }).waitFor();
    await device.person.hasKept(jamCode);
    await device.killed();
    await device.page.getByLabel("Name", { exact: true }).fill(jam);
    await device.person.hasKept(jam);
    await device.killed();
    await device.hasTyped("Name", jam);
    await device.page.getByLabel("Price", { exact: true }).fill("3.50");
    await device.page.getByLabel("How many came in").fill("12");
    await device.person.hasKept('"many":"12"'.replaceAll('"', '\\"'));
    await device.killed();
    await device.hasTyped("Price", "3.50");
    await device.hasTyped("How many came in", "12");
    await device.page.getByRole("button", { name: "Save" }).click();
    await device.shows(jam, 12);
    await device.killed();
    await device.shows(jam, 12);
    await device.page.getByRole("button", { name: `One more ${jam}` }).click();
    await device.shows(jam, 13);
    await device.killed();
    await device.shows(jam, 13);
    expect(await device.page.getByRole("heading", { name: "New product" }).count()).toBe(0);

    // Others see it as soon as there is a connection; it goes again in the middle of a line.
    await device.person.backOnline();
    await device.person.chip(/All saved/);
    await owner.to("work");
    await expect_(owner.page.getByRole("link", { name: new RegExp(name) }), /13 units/);
    await device.person.scan(teaCode);
    await device.page.getByRole("link", { name: "Add it now" }).click();
    await device.page.getByLabel("Name", { exact: true }).fill(tea);
    await device.page.getByRole("button", { name: "Save" }).click();
    await device.shows(tea, 1);
    const quantity = device.page.getByLabel(`Quantity of ${tea}`, { exact: true });
    await quantity.fill("2");
    way.cable.pull();
    await quantity.press("End");
    await quantity.pressSequentially("0");
    await device.shows(tea, 20);
    await device.page.getByText(/Kept on this device, not sent yet/).waitFor();
    await device.killed();
    await device.shows(tea, 20);
    await device.page.getByRole("button", { name: "Details" }).first().click();
    await device.page.getByLabel("Damaged of them").fill("2");
    await device.page.getByLabel("Damaged of them").press("Tab");
    await device.page.getByText("2 damaged").waitFor();
    await device.killed();
    await device.page.getByText("2 damaged").waitFor();
    await device.page.getByLabel("Delivery note").fill(note);
    await device.page.getByLabel("Delivery note").press("Enter");
    await device.hasTyped("Delivery note", note);
    await device.person.backOnline();
    await device.person.chip(/All saved/);
    await device.killed();
    await device.hasTyped("Delivery note", note);
    await device.shows(tea, 20);
    await device.shows(jam, 13);

    // And between the booking and its acknowledgement: the server has it, and the device cannot know.
    const booked = async (): Promise<unknown[][]> =>
      await world.server(BOOKED.replace("?", `'${note}'`));
    const rows = [
      [tea, -2, "damage", name],
      [tea, 20, "receive", name],
      [jam, 13, "receive", name],
    ];
    let cut = way.cable.plugUntilAnswered();
    await device.page.getByRole("button", { name: "Receive 33 units" }).click();
    await device.page.getByText("Received 33 units, saved on this device").waitFor();
    await cut;
    // Something else may have been answered before it.
    while ((await booked()).length === 0) {
      cut = way.cable.plugUntilAnswered();
      await device.person.nudge();
      await cut;
    }
    await device.person.chip(/kept on this device/);
    await device.killed();
    await device.page.getByText("Scan the first item").waitFor();
    await device.person.chip(/kept on this device/);
    expect(await booked()).toEqual(rows);

    // It comes back: once, by whom, and the same on both sides.
    await device.person.backOnline();
    await device.person.chip(/All saved/);
    await device.person.to("today");
    await device.page.getByText("Verified with the server at").waitFor();
    expect(await booked()).toEqual(rows);
    for (const person of [device.person, owner]) {
      await opened(person, tea);
      await person.onHand(18);
      await expect_(person.page.locator("li.entry").first(), new RegExp(name));
      await opened(person, jam);
      await person.onHand(13);
      await person.agrees();
    }
    expect(device.errors).toEqual([]);
  },
  TEST_MS,
);
