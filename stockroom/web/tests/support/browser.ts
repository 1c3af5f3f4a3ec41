/** The system's Chromium, and waiting for what a page says. Nothing sleeps. */

import { existsSync } from "node:fs";

import { type Browser, chromium as engine, type Locator } from "playwright-core";

export type { Browser, BrowserContext, CDPSession, Locator, Page } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const PATIENCE_MS = 45_000;
const LOOK_MS = 30;

export function chromiumPath(): string {
  const found = [process.env["CHROMIUM"], ...PLACES].find((place) => place && existsSync(place));
  if (found === undefined)
    throw new Error("there is no chromium (Debian: apt-get install chromium)");
  return found;
}

export function chromium(...more: readonly string[]): Promise<Browser> {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", ...more];
  return engine.launch({ executablePath: chromiumPath(), args });
}

/** Wait until an element says it. */
export async function expect_(locator: Locator, words: RegExp): Promise<void> {
  try {
    await locator.filter({ hasText: words }).first().waitFor({ timeout: PATIENCE_MS });
  } catch {
    const says = await locator.allTextContents().catch(() => []);
    throw new Error(`waited for ${words}, it says ${JSON.stringify(says)}`);
  }
}

/** Wait until something that is asked again and again is so. */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`it never came to be so: ${what}`);
    await new Promise((look) => setTimeout(look, LOOK_MS));
  }
}
