/**
 * The system's Firefox (Debian's firefox-esr), driven by WebDriver BiDi, on a profile that can be opened again.
 *
 * Knows: where it is, and what Playwright asks that it does not know yet. Must not know: what is tested.
 */

import { existsSync } from "node:fs";

import { type BrowserContext, firefox } from "playwright-core";

/** Null where there is none: what needs it is skipped. */
export const FIREFOX =
  [process.env["FIREFOX"], "/usr/bin/firefox-esr", "/usr/bin/firefox"].find(
    (place) => place && existsSync(place),
  ) ?? null;

const OPTIONS = { channel: "moz-firefox", headless: true } as const;
/** A camera that films a pattern, and a person who lets the page see it. */
const PREFS = { "media.navigator.streams.fake": true, "media.navigator.permission.disabled": true };
/** Colours and the like, which no test here asks for: Playwright sets them anyhow, and Firefox does not know how. */
const NOT_THERE = "emulation.setMediaFeaturesOverride";

interface Session {
  send(method: string, params: unknown): Promise<unknown>;
}
interface Inside {
  readonly _connection: { toImpl(browser: unknown): { readonly _browserSession: Session } };
}

let isTaught = false;

/** Once: what Firefox does not know is not asked. */
async function teach(executablePath: string): Promise<void> {
  if (isTaught) return;
  isTaught = true;
  const browser = await firefox.launch({ ...OPTIONS, executablePath });
  const inside = (browser as unknown as Inside)._connection.toImpl(browser)._browserSession;
  const sessions = Object.getPrototypeOf(inside) as Session;
  const { send } = sessions;
  sessions.send = function (method, params) {
    return method === NOT_THERE ? Promise.resolve({}) : send.call(this, method, params);
  };
  await browser.close();
}

/** Open the profile in this folder; closing the context ends the browser. */
export async function openFirefox(profile: string): Promise<BrowserContext> {
  if (FIREFOX === null)
    throw new Error("there is no firefox (Debian: apt-get install firefox-esr)");
  await teach(FIREFOX);
  return await firefox.launchPersistentContext(profile, {
    ...OPTIONS,
    executablePath: FIREFOX,
    viewport: { width: 390, height: 844 },
    firefoxUserPrefs: PREFS,
  });
}
