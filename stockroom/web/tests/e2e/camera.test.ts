/**
 * Codes are read by the camera, without a connection, too; and where there is no camera, it is said what to do, and
 * typing goes on. The picture is a film that Chromium plays in place of a camera; what reads it is the app's own.
 */

import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type Browser, chromium, expect_, type Page, until } from "../support/browser.js";
import { writeFilm } from "../support/film.js";
import { Person, World } from "../support/world.js";

const CODE = "4006381333931";
const UNKNOWN = "5901234123457";
/** On Linux Chromium has the detector, if it is told to, and nothing behind it. */
const HOLLOW_DETECTOR = "--enable-blink-features=ShapeDetection,BarcodeDetector";

let world: World;
let filming: Browser;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  const film = path.join(world.folder, "film.y4m");
  await writeFilm(film, [
    ...([[CODE, 2], [null, 2], [UNKNOWN, 1], [null, 2]] as const),
  ]); // prettier-ignore
  const fake = ["--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${film}`];
  filming = await chromium(...fake, HOLLOW_DETECTOR);
  const context = await filming.newContext({ viewport: { width: 390, height: 844 } });
  dilan = new Person("dilan", context, await context.newPage(), await world.way());
  await dilan.page.addInitScript(giveLight);
  await dilan.page.goto(dilan.cable.url);
});
afterAll(async () => {
  await filming.close();
  await world.close();
});

/** A camera with a light, as phones have one: what is asked of it stands at the page. */
function giveLight(): void {
  const { prototype } = MediaStreamTrack;
  const { getCapabilities, applyConstraints } = prototype;
  prototype.getCapabilities = function () {
    return { ...getCapabilities.call(this), torch: true } as MediaTrackCapabilities;
  };
  prototype.applyConstraints = function (asked) {
    document.documentElement.dataset["light"] = JSON.stringify(asked?.advanced);
    return applyConstraints.call(this, {});
  };
}

const lack = (page: Page, why: string) => page.locator(`[data-camera-lack=${why}]`);
const start = (page: Page) => page.getByRole("button", { name: "Use the camera" });

test("a refused camera says what to do, and typing goes on", async () => {
  const { page } = dilan;
  await dilan.signIn();
  await dilan.installed();
  await dilan.to("product/new");
  await page.getByLabel("Name", { exact: true }).fill("Fern pot");
  await page.getByLabel("SKU", { exact: true }).fill("FERN-1");
  await page.getByLabel("Price", { exact: true }).fill("6.00");
  await page.getByLabel("Barcode", { exact: true }).fill(CODE);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Fern pot", level: 1 }).waitFor();
  await dilan.to("scan");
  await start(page).click();
  await expect_(lack(page, "refused"), /Allow it in the browser’s settings/);
  await page.getByLabel("Code").fill("FERN-1");
  await page.getByRole("button", { name: "Find it" }).click();
  await expect_(page.getByRole("listitem"), /1 ×\s*Fern pot/);
  await page.getByRole("button", { name: "Clear" }).click();
});

test("with the cable pulled: codes are read, each once as long as it is seen, and again when it comes again", async () => {
  const { page, context } = dilan;
  await until("the decoder is kept on the device", () =>
    page.evaluate(async () => {
      const kept = await Promise.all(
        (await caches.keys()).map(async (name) => (await caches.open(name)).keys()),
      );
      const urls = kept.flat().map(({ url }) => url);
      return ["/decoder-", "/zxing_reader-"].every((part) =>
        urls.some((url) => url.includes(part)),
      );
    }),
  );
  dilan.cable.pull();
  await context.grantPermissions(["camera"]);
  expect(await page.evaluate(() => "BarcodeDetector" in globalThis)).toBe(true);
  await start(page).click();
  await page.locator("[data-camera=running]").waitFor();
  await expect_(page.getByRole("listitem"), /1 ×\s*Fern pot/);
  await page.getByText(`No product has the code ${UNKNOWN}`).waitFor();
  await expect_(page.getByRole("listitem"), /2 ×\s*Fern pot/);

  // The light, and the camera is off as soon as nobody looks through it.
  const light = page.getByRole("button", { name: "Light" });
  await light.click();
  await page.locator("button[aria-pressed=true]", { has: page.locator("svg") }).waitFor();
  expect(await page.locator("html").getAttribute("data-light")).toBe('[{"torch":true}]');
  const stream = await page
    .locator("video")
    .evaluateHandle((video: HTMLVideoElement) => video.srcObject);
  await page.getByRole("button", { name: "Stop the camera" }).click();
  await page.locator("[data-camera=off]").waitFor();
  const states = await stream.evaluate((one) =>
    (one as MediaStream).getTracks().map((track) => track.readyState),
  );
  expect(states).toEqual(["ended"]);

  // A delivery takes them, too.
  await dilan.to("receive");
  await start(page).click();
  await page.getByLabel("Quantity of Fern pot", { exact: true }).waitFor();
  await dilan.to("today");
  expect(dilan.errors).toEqual([]);
});

test("without a camera, or without what reads its pictures, it says so", async () => {
  const { page } = dilan;
  await page.evaluate(async () => {
    for (const name of await caches.keys()) {
      const cache = await caches.open(name);
      for (const { url } of await cache.keys())
        if (/\/(?:decoder|zxing_reader)-/.test(url)) await cache.delete(url);
    }
  });
  // The browser's own cache is no promise; a page that was loaded anew has not read anything yet.
  await (await dilan.context.newCDPSession(page)).send("Network.clearBrowserCache");
  await page.goto(`${dilan.cable.url}/#/scan`);
  await page.reload();
  await start(page).click();
  await expect_(lack(page, "reader"), /Open the camera once with a connection/);

  const mira = await world.person("mira");
  await mira.context.grantPermissions(["camera"]);
  await mira.to("scan");
  await start(mira.page).click();
  await expect_(lack(mira.page, "missing"), /No camera was found/);
});
