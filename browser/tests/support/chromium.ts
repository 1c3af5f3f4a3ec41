/** The system's Chromium as a real process, which can be killed and started again on its profile. */

import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";

import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

const UNTIL_MS_MAX = 60_000;
const LOOK_MS = 20;

/**
 * Wait until a page says so. `Page.waitForFunction` is not for questions that are answered later: it
 * takes the promise itself for a yes.
 */
export async function until<T>(
  page: Page,
  isSo: (given: T) => Promise<boolean>,
  given: T,
): Promise<void> {
  const ask = isSo as (given: unknown) => Promise<boolean>;
  const end = Date.now() + UNTIL_MS_MAX;
  while (!(await page.evaluate(ask, given as unknown))) {
    if (Date.now() > end) throw new Error(`it never came to be so: ${isSo.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

export const CHROMIUM = (process.env.PATH ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "chromium"))
  .find((path) => existsSync(path));

const ARGUMENTS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  ...["--no-first-run", "--remote-debugging-port=0"],
  // The menu of its address bar: two more pages in each window, drawn before anybody types there.
  "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,AimEnabled",
  // A name that is no secure context, for a browser that lacks what we need; other rules take its place.
  "--host-resolver-rules=MAP insecure.test 127.0.0.1",
];

const newFolder = (): string => mkdtempSync(join(tmpdir(), "holdfast-chromium-"));

export class Chromium {
  readonly #profile = newFolder();
  readonly #more: readonly string[];
  #process: ChildProcess | null = null;
  #browser: Browser | null = null;

  private constructor(more: readonly string[] = []) {
    this.#more = more;
  }

  /** `more`: arguments beside the usual ones. */
  static async start(...more: readonly string[]): Promise<Chromium> {
    const made = new Chromium(more);
    await made.start();
    return made;
  }

  /** Another one, on a copy of this one's profile; this one does not run now. */
  copy(): Chromium {
    if (this.#process !== null) throw new Error("it runs, and writes its profile");
    const made = new Chromium(this.#more);
    cpSync(this.#profile, made.#profile, { recursive: true, verbatimSymlinks: true });
    // By it a profile says which process has it.
    for (const name of ["SingletonLock", "SingletonCookie", "SingletonSocket"])
      rmSync(join(made.#profile, name), { force: true });
    return made;
  }

  async start(): Promise<void> {
    if (CHROMIUM === undefined) throw new Error("there is no chromium");
    const child = spawn(
      CHROMIUM,
      [...ARGUMENTS, ...this.#more, `--user-data-dir=${this.#profile}`, "about:blank"],
      {
        detached: true, // a group of its own, which can be killed whole
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    this.#process = child;
    const address = await new Promise<string>((resolve, reject) => {
      child.once("exit", () => reject(new Error("chromium has ended")));
      createInterface({ input: child.stderr }).on("line", (line) => {
        const found = /DevTools listening on (\S+)/.exec(line);
        if (found?.[1]) resolve(found[1]);
      });
    });
    this.#browser = await chromium.connectOverCDP(address);
  }

  /** Of its first process, which leads the group of all of them. */
  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get context(): BrowserContext {
    const [context] = this.#browser?.contexts() ?? [];
    if (context === undefined) throw new Error("chromium does not run");
    return context;
  }

  async page(url: string): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(url);
    await page.waitForFunction("'holdfast' in globalThis");
    return page;
  }

  /** It is closed, as by a person: what it has in memory is written. */
  async end(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const session = await this.#browser?.newBrowserCDPSession();
    await session?.send("Browser.close");
    await ended;
    this.#process = null;
  }

  /** What a power cut does to it. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    process.kill(-child.pid, "SIGKILL");
    await ended;
    this.#process = null;
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}
