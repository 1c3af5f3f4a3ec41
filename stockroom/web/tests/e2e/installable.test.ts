/** The app can be installed: Chromium itself says so, offers it, and does it. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { chromium as engine } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { type BrowserContext, CHROMIUM_ARGS, chromiumPath, type Page } from "../support/browser.js";
import { Person, World } from "../support/world.js";

/** Of an icon that is cut to a shape, so much of the width is always seen. */
const SAFE_SHARE = 0.8;

interface IconEntry {
  readonly src: string;
  readonly sizes: string;
  readonly type: string;
  readonly purpose?: string;
}

let world: World;
let profile: string;
let context: BrowserContext;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  profile = await mkdtemp(path.join(tmpdir(), "stockroom-installed-"));
  // A profile that is kept: nothing can be installed into a private one. Nobody has to be a regular first.
  context = await engine.launchPersistentContext(profile, {
    executablePath: chromiumPath(),
    viewport: { width: 390, height: 844 },
    args: [...CHROMIUM_ARGS, "--bypass-app-banner-engagement-checks"],
  });
  const page = context.pages()[0] ?? (await context.newPage());
  await page.addInitScript(listenToPrompt);
  dilan = new Person("dilan", context, page, await world.way());
  await page.goto(dilan.cable.url);
});
afterAll(async () => {
  await context.close();
  await world.close();
  await rm(profile, { recursive: true, force: true });
});

/** Notes that the browser's own question was asked, and asks it. */
function listenToPrompt(): void {
  const { BeforeInstallPromptEvent: Prompt } = globalThis as unknown as {
    BeforeInstallPromptEvent: { prototype: { prompt(): Promise<unknown> } };
  };
  const ask = Object.getOwnPropertyDescriptor(Prompt.prototype, "prompt")?.value as () => unknown;
  Prompt.prototype.prompt = function (this: unknown): Promise<unknown> {
    document.documentElement.dataset["asked"] = "true";
    return ask.call(this) as Promise<unknown>;
  };
}

/** Width, height, whether all of it is opaque, and whether all that is drawn is in the safe zone. */
function looksOf(page: Page, src: string): Promise<[number, number, boolean, boolean]> {
  return page.evaluate(
    async ([from, safe]) => {
      const image = await createImageBitmap(await (await fetch(from)).blob());
      const { width, height } = image;
      const canvas = new OffscreenCanvas(width, height);
      const drawn = canvas.getContext("2d");
      drawn?.drawImage(image, 0, 0);
      const data = drawn?.getImageData(0, 0, width, height).data ?? new Uint8ClampedArray();
      const [opaque, inside] = [{ all: true }, { all: true }];
      for (let at = 0; at < data.length; at += 4) {
        const [x, y] = [(at / 4) % width, Math.floor(at / 4 / width)];
        const isSafe = Math.hypot(x - width / 2, y - height / 2) <= (safe * width) / 2;
        if (data[at + 3] !== 255) opaque.all = false;
        if (!isSafe && [0, 1, 2].some((part) => data[at + part] !== data[part])) inside.all = false;
      }
      return [width, height, opaque.all, inside.all];
    },
    [src, SAFE_SHARE] as const,
  );
}

test("its manifest and icons are what a home screen needs", async () => {
  const { page } = dilan;
  const chrome = await context.newCDPSession(page);
  const { errors, url, data } = await chrome.send("Page.getAppManifest");
  expect(errors).toEqual([]);
  const manifest = JSON.parse(data ?? "{}") as Record<string, unknown> & { icons: IconEntry[] };
  // As of where it lies: below a path of a proxy it is another app, at the root the one it has always been.
  expect(manifest).toMatchObject({ start_url: "./", scope: "./", display: "standalone" });
  expect(manifest).not.toHaveProperty("id");
  expect((await chrome.send("Page.getAppId")).appId).toBe(`${dilan.cable.url}/`);
  const drawn = manifest.icons.filter(({ type }) => type === "image/png");
  expect(drawn.map(({ sizes, purpose = "any" }) => `${sizes} ${purpose}`)).toEqual([
    ...["192x192 any", "512x512 any", "512x512 maskable"],
  ]);
  for (const { src, sizes, purpose } of drawn) {
    const [width, height, isOpaque, isInside] = await looksOf(page, new URL(src, url).href);
    expect(`${width}x${height}`).toBe(sizes);
    if (purpose === "maskable") expect([isOpaque, isInside]).toEqual([true, true]);
  }
  for (const { src, type } of manifest.icons) {
    const answer = await page.request.get(new URL(src, url).href);
    expect([answer.status(), answer.headers()["content-type"]]).toEqual([200, type]);
  }
});

test("Chromium finds nothing in the way, offers it, and installs it", async () => {
  const { page } = dilan;
  await dilan.signIn();
  await dilan.installed();
  const chrome = await context.newCDPSession(page);
  expect(await chrome.send("Page.getInstallabilityErrors")).toEqual({ installabilityErrors: [] });

  await dilan.to("saved/device");
  const entry = page.getByRole("button", { name: "Install as an app" });
  await entry.waitFor();
  await entry.click();
  await page.locator("html[data-asked=true]").waitFor();

  const manifestId = `${dilan.cable.url}/`;
  await chrome.send("PWA.install", { manifestId });
  const { fileHandlers } = await chrome.send("PWA.getOsAppState", { manifestId });
  expect(fileHandlers).toEqual([]);
  await chrome.send("PWA.uninstall", { manifestId });
  await expect(chrome.send("PWA.getOsAppState", { manifestId })).rejects.toThrow(/Unknown/);
  expect(dilan.errors).toEqual([]);
});
