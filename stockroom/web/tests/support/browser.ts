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

/**
 * Parts of Chromium that no page sees. The first four are the menu of its address bar, two more pages
 * that each window draws before anybody types there: they cost more than the app's start. The others are
 * Playwright's own choice, which this one takes the place of.
 */
const WITHOUT = [
  ...["WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup", "AimEnabled"],
  ...["AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades"],
  ...["HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding"],
  ...["ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints"],
  ...["NetworkTimeServiceQuerying", "PreconnectToSearch", "SpareRendererForSitePerProcess"],
];
export const CHROMIUM_ARGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  `--disable-features=${WITHOUT.join(",")}`,
];

export function chromium(...more: readonly string[]): Promise<Browser> {
  return engine.launch({ executablePath: chromiumPath(), args: [...CHROMIUM_ARGS, ...more] });
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
