/**
 * A whole shop for a test: `stockroom serve`, a cable for each browser, people with devices.
 *
 * Knows: how processes are started and ended. Must not know: what is tested. Only processes that were
 * started here are ended here.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import { type Browser, type BrowserContext, chromium, expect_, type Page } from "./browser.js";
import { Cable } from "./cable.js";

const ROOT = path.resolve(import.meta.dirname, "../../../..");
const PYTHON = process.env["STOCKROOM_PYTHON"] ?? path.join(ROOT, ".venv/bin/python");
const READY_MS = 60_000;
export const PASSWORD = "stockroom demo";

export class World {
  readonly folder: string;
  readonly browser: Browser;
  #server: ChildProcess | null = null;
  #port = 0;
  readonly #cables: Cable[] = [];

  private constructor(folder: string, browser: Browser) {
    this.folder = folder;
    this.browser = browser;
  }

  static async make(): Promise<World> {
    const folder = await mkdtemp(path.join(tmpdir(), "stockroom-web-"));
    const world = new World(folder, await chromium());
    await world.startServer();
    return world;
  }

  async startServer(): Promise<void> {
    const child = spawn(
      PYTHON,
      ["-m", "stockroom.cli", "serve", "--demo", "--port", String(this.#port), "--database"].concat(
        path.join(this.folder, "shop.db"),
      ),
      { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] },
    );
    this.#server = child;
    const url = await new Promise<string>((ready, failed) => {
      let said = "";
      const late = setTimeout(() => failed(new Error(`not ready: ${said}`)), READY_MS);
      child.stdout.on("data", (piece: Buffer) => {
        said += piece.toString();
        const found = /^ready (\S+)$/m.exec(said);
        if (found?.[1] === undefined) return;
        clearTimeout(late);
        ready(found[1]);
      });
      child.on("exit", () => failed(new Error(`the server ended: ${said}`)));
    });
    this.#port = Number(new URL(url).port);
  }

  async stopServer(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#server;
    this.#server = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise<void>((over) => child.on("exit", () => over()));
    child.kill(signal);
    await ended;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** A browser profile of its own at the end of a cable of its own. */
  async person(name: string, store = ""): Promise<Person> {
    const cable = await Cable.lay(() => this.#port);
    this.#cables.push(cable);
    const context = await this.browser.newContext({ viewport: { width: 390, height: 844 } });
    const person = new Person(name, context, await context.newPage(), cable);
    await person.signIn(store);
    return person;
  }

  /** `stockroom device ...` with `--json`; its document. */
  async device(db: string, ...arguments_: string[]): Promise<Record<string, unknown>> {
    const all = ["-m", "stockroom.cli", "device", "--db", path.join(this.folder, db), "--json"];
    const { stdout } = await promisify(execFile)(PYTHON, [...all, ...arguments_], { cwd: ROOT });
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") as Record<string, unknown>;
  }

  async close(): Promise<void> {
    await this.browser.close();
    for (const cable of this.#cables) await cable.close();
    await this.stopServer();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export class Person {
  readonly errors: string[] = [];
  readonly name: string;
  readonly context: BrowserContext;
  page: Page;
  readonly cable: Cable;

  constructor(name: string, context: BrowserContext, page: Page, cable: Cable) {
    this.name = name;
    this.context = context;
    this.page = page;
    this.cable = cable;
    page.on("pageerror", (error) => this.errors.push(error.message));
  }

  async signIn(store: string): Promise<void> {
    const { page } = this;
    await page.goto(this.cable.url);
    await page.getByLabel("Name", { exact: true }).fill(this.name);
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByText("Ready to work without connection").waitFor();
    if (store !== "") await page.getByLabel(store).check();
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByRole("searchbox").waitFor();
  }

  async to(path_: string): Promise<void> {
    await this.page.evaluate((hash) => void (location.hash = hash), `#/${path_}`);
  }

  chip(words: RegExp): Promise<void> {
    return expect_(this.page.locator("[data-chip]"), words);
  }

  async addProduct(sku: string, name: string, price: string): Promise<void> {
    const { page } = this;
    await this.to("product/new");
    await page.getByLabel("Name", { exact: true }).fill(name);
    await page.getByLabel("SKU", { exact: true }).fill(sku);
    await page.getByLabel("Price", { exact: true }).fill(price);
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name, level: 1 }).waitFor();
  }

  async open(sku: string): Promise<void> {
    await this.to("stock");
    await this.page.getByRole("searchbox").fill(sku);
    await this.page.getByRole("link", { name: sku }).first().click();
    await this.page.locator("[data-on-hand]").waitFor();
  }

  onHand(quantity: number): Promise<void> {
    const shown = new Intl.NumberFormat("en").format(quantity);
    return expect_(this.page.locator("[data-on-hand]"), new RegExp(`^${shown}$`));
  }

  /**
   * As a hand scanner does it: keys 10 ms apart, and mostly Enter. The times are those of the keys, however
   * long a busy machine takes to hand them over.
   */
  async scan(code: string, enter = true): Promise<void> {
    const keyboard = await this.context.newCDPSession(this.page);
    let seconds = Date.now() / 1000;
    for (const key of enter ? [...code, "Enter"] : code) {
      const text = key === "Enter" ? "\r" : key;
      for (const type of ["keyDown", "keyUp"] as const) {
        seconds += 0.005;
        await keyboard.send("Input.dispatchKeyEvent", { type, key, text, timestamp: seconds });
      }
    }
    await keyboard.detach();
  }

  async receive(sku: string, quantity: number, document = ""): Promise<void> {
    const { page } = this;
    await this.to("receive");
    await page.getByLabel("Delivery note").fill(document);
    await page.getByLabel("Scan, or search for a product").fill(sku);
    await page.getByRole("button", { name: sku }).first().click();
    await page.getByRole("spinbutton").first().fill(String(quantity));
    await page.getByRole("button", { name: /^Receive \d+ unit/ }).click();
    await page.getByText(/saved on this device/).waitFor();
  }

  async adjustTo(sku: string, quantity: number): Promise<void> {
    const { page } = this;
    await this.open(sku);
    await page.getByRole("link", { name: "Adjust" }).click();
    await page.getByLabel("What you see on the shelf").fill(String(quantity));
    await page.getByRole("button", { name: /^Record/ }).click();
    await page.getByText(/Recorded .* saved on this device/).waitFor();
  }

  async setPrice(sku: string, price: string): Promise<void> {
    const { page } = this;
    await this.open(sku);
    await page.getByRole("link", { name: "Edit" }).click();
    await page.getByLabel("Price", { exact: true }).fill(price);
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator("[data-on-hand]").waitFor();
  }
}
