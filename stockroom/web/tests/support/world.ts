/**
 * A whole shop for a test: `stockroom serve`, a cable for each browser, people with devices.
 *
 * Knows: how processes are started and ended. Must not know: what is tested. Only processes that were
 * started here are ended here.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import {
  type Browser,
  type BrowserContext,
  chromium,
  expect_,
  type Page,
  until,
} from "./browser.js";
import { Cable } from "./cable.js";
import { Stand } from "./stand.js";

export const ROOT = path.resolve(import.meta.dirname, "../../../..");
export const PYTHON = process.env["STOCKROOM_PYTHON"] ?? path.join(ROOT, ".venv/bin/python");
/** The built app. */
export const BUILT = path.join(ROOT, "stockroom/web/dist");
const GROWN = path.join(import.meta.dirname, "grown.py");
const READY_MS = 60_000;
const ANSWER_BYTES_MAX = 64_000_000;
/** Enough to have stores, goods and something on the shelves; months of sales are for eyes. */
const DEMO_MOVEMENTS = "600";
export const PASSWORD = "stockroom demo";

export interface PersonOptions {
  /** The name of the store they choose at the first start, where they work in several. */
  readonly store?: string;
  /** Whether somebody stands between the browser and the server. */
  readonly stand?: boolean;
  /** How far their device's clock is ahead. */
  readonly aheadMs?: number;
}

export class World {
  readonly folder: string;
  readonly browser: Browser;
  /** The built app that the server serves; the checkout's without it. */
  web: string | null = null;
  /** Whether the shop is the demo; else it is empty, and nobody has set it up. */
  isDemo = true;
  /** Whether the server is that of the next version, with a table and two columns more. */
  hasGrown = false;
  /** Whether devices of Python's have the next version, too: it migrates their files. */
  devicesHaveGrown = false;
  /** What the server has said when it began. */
  said = "";
  /** More options of the server. */
  #serve: readonly string[] = [];
  #server: ChildProcess | null = null;
  #port = 0;
  readonly #ways: { close(): Promise<void> }[] = [];

  private constructor(folder: string, browser: Browser) {
    this.folder = folder;
    this.browser = browser;
  }

  /** `serve`: more options of the server; `ownWeb`: the app is served from a copy of its own, which a test may replace. */
  static async make({
    ownWeb = false,
    movements = DEMO_MOVEMENTS,
    serve = [] as readonly string[],
    demo = true,
  } = {}): Promise<World> {
    const folder = await mkdtemp(path.join(tmpdir(), "stockroom-web-"));
    const world = new World(folder, await chromium());
    world.#serve = serve;
    world.isDemo = demo;
    if (ownWeb) {
      world.web = path.join(folder, "web");
      await cp(BUILT, world.web, { recursive: true });
    }
    await world.startServer(movements);
    return world;
  }

  async startServer(movements = DEMO_MOVEMENTS): Promise<void> {
    const child = spawn(
      PYTHON,
      [
        ...(this.hasGrown ? [GROWN] : ["-m", "stockroom.cli"]),
        ...["serve", ...(this.isDemo ? ["--demo", "--demo-movements", movements] : [])],
        ...["--port", String(this.#port), "--database", this.database],
        ...(this.web === null ? [] : ["--web", this.web]),
        ...this.#serve,
      ],
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
        this.said = said;
        ready(found[1]);
      });
      child.on("exit", () => failed(new Error(`the server ended: ${said}`)));
    });
    this.#port = Number(new URL(url).port);
  }

  /** The replica program of the next version. */
  async grownProgram(): Promise<string> {
    const { stdout } = await promisify(execFile)(PYTHON, [GROWN, "program"], {
      maxBuffer: ANSWER_BYTES_MAX,
    });
    return stdout;
  }

  async stopServer(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#server;
    this.#server = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise<void>((over) => child.on("exit", () => over()));
    child.kill(signal);
    await ended;
  }

  /** Another server takes the place of this one, at its address: with an empty database. */
  async beginAnew(): Promise<void> {
    await this.stopServer();
    const beside = ["", "-wal", "-shm", "-serving"].map((end) => this.database + end);
    await Promise.all(beside.map((file) => rm(file, { force: true })));
    await this.startServer();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** Of the demo's people: another one where others can reach the server. */
  get password(): string {
    return /with the password: (.+)/.exec(this.said)?.[1] ?? PASSWORD;
  }

  /** A browser profile of its own at the end of a cable of its own. */
  async person(name: string, options: PersonOptions = {}): Promise<Person> {
    const person = await this.newcomer(name, options);
    await person.signIn(options.store);
    return person;
  }

  /** Somebody with a new browser, who has not signed in yet. */
  async newcomer(name: string, options: PersonOptions = {}): Promise<Person> {
    const context = await this.browser.newContext({ viewport: { width: 390, height: 844 } });
    const person = new Person(name, context, await context.newPage(), await this.way(options));
    await person.page.goto(person.cable.url);
    return person;
  }

  /** A new browser that goes straight to an address of the server. */
  async visitor(
    address = this.url,
  ): Promise<{ readonly context: BrowserContext; readonly page: Page }> {
    const context = await this.browser.newContext({ viewport: { width: 390, height: 844 } });
    const page = await context.newPage();
    await page.goto(address);
    return { context, page };
  }

  /** A way to the server for a browser: a cable, and somebody behind it if that is wished. */
  async way({ stand: wished = false, aheadMs = 0 }: PersonOptions = {}): Promise<Way> {
    const stand = wished || aheadMs !== 0 ? await Stand.put(() => this.#port) : null;
    stand?.setClocksAhead(aheadMs);
    const cable = await Cable.lay(() => stand?.port ?? this.#port);
    this.#ways.push(cable, ...(stand === null ? [] : [stand]));
    return { cable, stand };
  }

  /** A device of Python's, enrolled by its user's password, with the store open. */
  async enrolDevice(db: string, user: string, store: string): Promise<void> {
    const enrol = ["-m", "holdfast.cli", "enrol", path.join(this.folder, db), "--user", user];
    const env = { ...process.env, HOLDFAST_PASSWORD: PASSWORD };
    await promisify(execFile)(
      PYTHON,
      [...enrol, "--server", this.url, "--schema", "stockroom.schema:schema", "--name", db],
      { cwd: ROOT, env },
    );
    await this.device(db, "--store", store, "--person", user, "init");
  }

  /** `stockroom device ...` with `--json`; its document. */
  async device(db: string, ...arguments_: string[]): Promise<Record<string, unknown>> {
    const program = this.devicesHaveGrown ? [GROWN] : ["-m", "stockroom.cli"];
    const all = [...program, "device", "--db", path.join(this.folder, db), "--json"];
    const { stdout } = await promisify(execFile)(PYTHON, [...all, ...arguments_], { cwd: ROOT });
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") as Record<string, unknown>;
  }

  /** What the server's own tables say. */
  async server(sql: string): Promise<unknown[][]> {
    const [rows = []] = await this.tables(this.database, [sql]);
    return rows;
  }

  /** What stands in a database of Python's: the rows of each question. */
  async tables(database: string, questions: readonly string[]): Promise<unknown[][][]> {
    const read =
      "import json, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); " +
      "print(json.dumps([db.execute(sql).fetchall() for sql in sys.argv[2:]]))";
    const words = ["-c", read, database, ...questions];
    const { stdout } = await promisify(execFile)(PYTHON, words, { maxBuffer: ANSWER_BYTES_MAX });
    return JSON.parse(stdout) as unknown[][][];
  }

  get database(): string {
    return path.join(this.folder, "shop.db");
  }

  async close(): Promise<void> {
    await this.browser.close();
    for (const way of this.#ways) await way.close();
    await this.stopServer();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export interface Way {
  readonly cable: Cable;
  readonly stand: Stand | null;
}

export class Person {
  readonly errors: string[] = [];
  readonly name: string;
  readonly context: BrowserContext;
  page: Page;
  readonly way: Way;
  /** When its last key was pressed, by the keys' own times. */
  #scannedAt = 0;

  constructor(name: string, context: BrowserContext, page: Page, way: Way) {
    this.name = name;
    this.context = context;
    this.page = page;
    this.way = way;
    page.on("pageerror", (error) => this.errors.push(error.message));
  }

  get cable(): Cable {
    return this.way.cable;
  }

  get stand(): Stand {
    if (this.way.stand === null) throw new Error(`nobody stands before ${this.name}'s server`);
    return this.way.stand;
  }

  async signIn(store = "", password = PASSWORD): Promise<void> {
    const { page } = this;
    await page.getByLabel("Name", { exact: true }).fill(this.name);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await this.start(store);
  }

  /** From what the first load says when it is over to the list. */
  async start(store = ""): Promise<void> {
    const { page } = this;
    await page.getByText("Ready to work without connection").waitFor();
    if (store !== "") await page.getByLabel(store).check();
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByRole("searchbox").waitFor();
  }

  async signInAgain(): Promise<void> {
    const { page } = this;
    await this.to("sign-in");
    await page.getByRole("heading", { name: "Sign in again" }).waitFor();
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByRole("searchbox").waitFor();
  }

  /** The app's own files are kept here: it starts without a server from now on. */
  async installed(): Promise<void> {
    await this.page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  }

  /** What was typed, and is saved nowhere else, is on the disk: it outlives the browser's own end. */
  async hasKept(typed: string): Promise<void> {
    await until(`${typed} is kept`, () =>
      this.page.evaluate(async (words) => {
        const opened = indexedDB.open("stockroom", 1);
        await new Promise((ready) => (opened.onsuccess = ready));
        const found = opened.result.transaction("memory").objectStore("memory").get("drafts");
        await new Promise((ready) => (found.onsuccess = ready));
        opened.result.close();
        return JSON.stringify(found.result ?? null).includes(words);
      }, typed),
    );
  }

  async to(path_: string): Promise<void> {
    await this.page.evaluate((hash) => void (location.hash = hash), `#/${path_}`);
  }

  /** The cable is in again, and the browser says so: nothing waits for the end of a long pause. */
  async backOnline(): Promise<void> {
    this.cable.plug();
    await this.nudge();
  }

  /** The browser says that there is a network, as it does when one has come. */
  async nudge(): Promise<void> {
    await this.context.setOffline(true);
    await this.context.setOffline(false);
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
   * As a hand scanner does it: keys 10 ms apart, or as `gapMs` says of each, and Enter. The times are those
   * of the keys, however long a busy machine takes to hand them over.
   */
  async scan(code: string, gapMs: (at: number) => number = () => 10): Promise<void> {
    const keyboard = await this.context.newCDPSession(this.page);
    let seconds = Math.max(Date.now() / 1000, this.#scannedAt + 1);
    for (const [at, key] of [...code, "Enter"].entries()) {
      const text = key === "Enter" ? "\r" : key;
      const code_ = /\d/.test(key) ? `Digit${key}` : key === "Enter" ? key : "";
      seconds += gapMs(at) / 1000;
      for (const type of ["keyDown", "keyUp"] as const)
        await keyboard.send("Input.dispatchKeyEvent", {
          ...{ type, key, text, code: code_ },
          timestamp: seconds,
        });
    }
    this.#scannedAt = seconds;
    await keyboard.detach();
  }

  async receive(sku: string, quantity: number, document = ""): Promise<void> {
    const { page } = this;
    await this.to("receive");
    await page.getByLabel("Delivery note").fill(document);
    await page.getByLabel("Scan, or search for a product").fill(sku);
    await page.getByRole("button", { name: sku }).first().click();
    await page.getByRole("spinbutton").first().fill(String(quantity));
    // So many are asked about, unless there were as many before.
    if (quantity > 1_000) await page.getByRole("button", { name: /^Yes, / }).click();
    await page.getByRole("button", { name: /^Receive [\d,]+ unit/ }).click();
    await page.getByText(/saved on this device/).waitFor();
  }

  async adjustTo(sku: string, quantity: number): Promise<void> {
    const { page } = this;
    await this.open(sku);
    await page.getByRole("link", { name: "Adjust" }).click();
    await page.getByLabel("What you see on the shelf").fill(String(quantity));
    await page.getByRole("radio").first().check();
    await page.getByRole("button", { name: /^Record/ }).click();
    await page.getByText(/Recorded .* saved on this device/).waitFor();
  }

  /** Fields of a product's form, by their labels. */
  async edit(sku: string, fields: Readonly<Record<string, string>>): Promise<void> {
    const { page } = this;
    await this.open(sku);
    await page.getByRole("link", { name: "Edit" }).click();
    for (const [label, value] of Object.entries(fields))
      await page.getByLabel(label, { exact: true }).fill(value);
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator("[data-on-hand]").waitFor();
  }

  /** Compare with the server, down to the stored rows; and nothing has gone wrong in the page. */
  async agrees(): Promise<void> {
    await this.to("saved/device");
    await this.page.getByRole("button", { name: "Verify now" }).click();
    await expect_(this.page.locator("[data-verification]"), /the same data on both sides/);
    if (this.errors.length > 0) throw new Error(`${this.name}'s page: ${this.errors.join("; ")}`);
  }
}
