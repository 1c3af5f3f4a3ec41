// Pictures of the running app for the README: `node tools/screenshots.mjs FOLDER [all]`.
//
// Starts a demo shop of its own, works in it as two people do, and writes small PNGs. With `all`, every
// screen in both themes on a phone and a desktop, to be looked at; without, the few that the docs show.
import { mkdir } from "node:fs/promises";
import path from "node:path";

import { openBrowser, painted, ROOT, serve } from "./pictures.mjs";

const PASSWORD = "stockroom demo";
const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const DOCS = new Set(["desktop-light-product", "phone-light-stock", "phone-dark-needs"]);
const folder = path.resolve(process.argv[2] ?? path.join(ROOT, "docs/images"));
const all = process.argv[3] === "all";

const { url, close } = await serve("--demo");
const browser = await openBrowser();

async function person(name, store) {
  const context = await browser.newContext({ viewport: SIZES.phone, reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(url);
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Password").fill(PASSWORD);
  if (all && name === "ada") await shoot(page, "sign-in");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByText("Ready to work without connection").waitFor();
  if (all && name === "ada") await shoot(page, "first-load");
  if (store) await page.getByLabel(store).check();
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("searchbox").waitFor();
  return page;
}

const to = (page, where) => page.evaluate((hash) => void (location.hash = hash), `#/${where}`);

async function shoot(page, name) {
  for (const colorScheme of ["light", "dark"])
    for (const [size, viewport] of Object.entries(SIZES)) {
      const full = `${size}-${colorScheme}-${name}`;
      if (!all && !DOCS.has(full)) continue;
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(viewport);
      await painted(page);
      await page.screenshot({ path: path.join(folder, `${full}.png`) });
    }
}

async function setPrice(page, product, price) {
  await to(page, `product/${product}/edit`);
  await page.getByLabel("Price", { exact: true }).fill(price);
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("[data-on-hand]").waitFor();
}

try {
  await mkdir(folder, { recursive: true });
  const ada = await person("ada", "Harbour Street");
  const dilan = await person("dilan");
  await shoot(ada, "today");
  await to(ada, "stock");
  await ada.locator("ul li a").nth(4).click();
  await ada.locator("[data-on-hand]").waitFor();
  const product = new URL(ada.url()).hash.split("/")[2];

  // Dilan stays offline and works; Ada changes the same price meanwhile.
  await to(dilan, "saved/device");
  await dilan.getByRole("switch").check();
  await setPrice(dilan, product, "31.50");
  await to(dilan, `product/${product}/adjust`);
  await dilan.getByRole("button", { name: "−1" }).click();
  await dilan.getByRole("radio", { name: "Damaged" }).check();
  await shoot(dilan, "adjust");
  await dilan.getByRole("button", { name: /^Record/ }).click();
  await dilan.getByText(/saved on this device/).waitFor();
  await setPrice(ada, product, "33.00");
  await ada.locator("[data-chip]").filter({ hasText: "All saved" }).waitFor();
  await ada.getByRole("button", { name: "Close" }).click();

  await shoot(dilan, "product");
  await to(dilan, "stock");
  await dilan.getByRole("searchbox").waitFor();
  await shoot(dilan, "stock");
  await dilan.getByRole("searchbox").fill("zzz");
  await dilan.getByText("Nothing found").waitFor();
  await shoot(dilan, "nothing-found");
  await dilan.getByRole("searchbox").fill("");
  await to(dilan, `product/${product}/edit`);
  await dilan.getByLabel("Name", { exact: true }).waitFor();
  await shoot(dilan, "edit");
  await to(dilan, "receive");
  await shoot(dilan, "receive-empty");
  for (const words of ["apron long", "bowl", "mug"]) {
    await dilan.getByLabel("Scan, or search for a product").fill(words);
    await dilan.locator(".found button").first().click();
  }
  await shoot(dilan, "receive");
  await to(dilan, "scan");
  await dilan.getByLabel("Code").fill("2000000000000");
  await dilan.getByRole("button", { name: "Find it" }).click();
  await shoot(dilan, "scan");
  await to(dilan, "saved");
  await shoot(dilan, "waiting");
  await to(dilan, "saved/log");
  await dilan.locator("li.entry").first().waitFor();
  await shoot(dilan, "history");
  await to(dilan, "saved/device");
  await shoot(dilan, "device");
  await dilan.getByRole("switch").uncheck();
  await dilan.locator("[data-chip]").filter({ hasText: "needs you" }).waitFor();
  await to(dilan, "needs");
  await dilan.locator("[data-conflict]").waitFor();
  await shoot(dilan, "needs");
} finally {
  await browser.close();
  await close();
}
