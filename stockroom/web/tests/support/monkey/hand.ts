/**
 * One person at work: a browser of their own, one or two tabs, and a bad line to the server.
 *
 * Knows: tabs, and how to ask the replica behind them without a screen. Must not know: what is done in
 * them. Whatever a page complains about is kept until somebody looks.
 */

import type { Refused, Status } from "../../../../../browser/src/index.js";
import type { Chromium } from "../../../../../browser/tests/support/chromium.js";
import { type BrowserContext, type Page, until } from "../browser.js";
import { openTab } from "../tab.js";
import { Person, type Way, type World } from "../world.js";

/** What a browser says of a request that came to nothing is no complaint of the app's. */
const NOT_OURS = /Failed to load resource|net::ERR_|EventSource|Service ?Worker|service worker/i;
const PATIENCE_MS = 20_000;

export class Hand {
  readonly name: string;
  readonly way: Way;
  readonly complaints: string[] = [];
  readonly #chromium: Chromium | null;
  #context: BrowserContext;
  #tabs: Person[] = [];
  #at = 0;
  /** Whether the line to the server is as it should be. */
  isWell = true;

  private constructor(name: string, way: Way, chromium: Chromium | null, context: BrowserContext) {
    this.name = name;
    this.way = way;
    this.#chromium = chromium;
    this.#context = context;
  }

  /** `chromium`: a browser of their own, which may be killed. */
  static async seat(world: World, name: string, chromium: Chromium | null): Promise<Hand> {
    const way = await world.way({ stand: true });
    const context = chromium?.context ?? (await world.browser.newContext());
    const hand = new Hand(name, way, chromium, context);
    const { page } = await hand.openTab(false);
    await page.goto(way.cable.url);
    await hand.#signIn();
    return hand;
  }

  async #signIn(): Promise<void> {
    await this.person.signIn(this.name === "ada" ? "Harbour Street" : "");
    await this.person.installed();
  }

  /** One tab has signed out: every tab says so. In one of them they sign in again. */
  async allSignedOut(): Promise<void> {
    const welcome = { name: "Welcome to Stockroom" };
    for (const { page } of this.#tabs) await page.getByRole("heading", welcome).waitFor();
    const [one, ...others] = this.#tabs;
    this.#tabs = one === undefined ? [] : [one];
    this.#at = 0;
    for (const { page } of others) await page.close();
    await this.#signIn();
  }

  get person(): Person {
    const found = this.#tabs[this.#at];
    if (found === undefined) throw new Error(`${this.name} has no tab`);
    return found;
  }

  get page(): Page {
    return this.person.page;
  }

  get tabs(): number {
    return this.#tabs.length;
  }

  get canBeKilled(): boolean {
    return this.#chromium !== null;
  }

  async openTab(loaded = true): Promise<Person> {
    const page = await this.#context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => this.complaints.push(`${error.message} ${error.stack ?? ""}`));
    page.on("console", (said) => {
      if (said.type() === "error" && !NOT_OURS.test(said.text())) this.complaints.push(said.text());
    });
    const person = new Person(this.name, this.#context, page, this.way);
    this.#tabs.push(person);
    this.#at = this.#tabs.length - 1;
    if (loaded) await this.load();
    return person;
  }

  async load(): Promise<void> {
    await this.page.goto(this.way.cable.url);
    await this.ready();
  }

  /** The app is there. */
  async ready(): Promise<void> {
    await this.page.locator("[data-chip]").waitFor();
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.ready();
  }

  turnTo(at: number): void {
    this.#at = at % this.#tabs.length;
  }

  /** This tab ends; the other one, or a new one, is in use from here on. */
  async closeTab(how: "close" | "crash"): Promise<void> {
    const [gone] = this.#tabs.splice(this.#at, 1);
    this.#at = 0;
    if (gone !== undefined && how === "crash") {
      const session = await this.#context.newCDPSession(gone.page);
      const over = new Promise<void>((crashed) => gone.page.on("crash", () => crashed()));
      void session.send("Page.crash").catch(() => undefined);
      await over;
    }
    await gone?.page.close();
    if (this.#tabs.length === 0) await this.openTab();
  }

  /** What a power cut does to the whole browser. */
  async kill(): Promise<void> {
    if (this.#chromium === null) throw new Error(`${this.name}'s browser is shared`);
    await this.#chromium.kill();
    await this.#chromium.start();
    this.#context = this.#chromium.context;
    this.#tabs = [];
    this.#at = 0;
    await this.openTab();
  }

  // --- asking the replica, not the screen ----------------------------------------------------------

  async ask(sql: string): Promise<(string | null)[][]> {
    await this.#tap();
    return await this.page.evaluate(async (asked) => {
      const { rows } = await tab.query(asked);
      return rows.map((row) => row.map((value) => (value === null ? null : String(value))));
    }, sql);
  }

  async status(): Promise<Status> {
    await this.#tap();
    return await this.page.evaluate(() => tab.status());
  }

  async refused(): Promise<Refused[]> {
    await this.#tap();
    return await this.page.evaluate(() => tab.refused());
  }

  async #tap(): Promise<void> {
    if (await this.page.evaluate(() => "tab" in globalThis)) return;
    // Between two leaders nobody holds the lock.
    await until("somebody leads", () =>
      openTab(this.page).then(
        () => true,
        (error: unknown) => {
          if (String(error).includes("nobody leads")) return false;
          throw error;
        },
      ),
    );
  }

  /** For whoever reads why a run has failed. */
  async shows(): Promise<string> {
    const words = await this.#tabs[this.#at]?.page
      .locator("body")
      .innerText({ timeout: 2_000 })
      .catch(String);
    return `${this.name} sees: ${(words ?? "nothing").replace(/\s+/g, " ").slice(0, 700)}`;
  }

  async close(): Promise<void> {
    if (this.#chromium === null) await this.#context.close();
    else await this.#chromium.close();
  }
}
