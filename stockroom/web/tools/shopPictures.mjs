// Pictures of docs/shop.md: `node tools/shopPictures.mjs [FOLDER]`.
//
// Opens a shop as the guide says, on a database of its own, and takes a small PNG at each step.
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";

import { openBrowser, painted, ROOT, serve } from "./pictures.mjs";

const PASSWORD = "quay lantern 4711";
const PHONE = { width: 390, height: 844 };
const GOODS = /```csv goods\.csv\n(.*?)```/s;
const folder = path.resolve(process.argv[2] ?? path.join(ROOT, "docs/pictures"));

await mkdir(folder, { recursive: true });
const guide = await readFile(path.join(ROOT, "docs/shop.md"), "utf8");
const goods = Buffer.from(GOODS.exec(guide)?.[1] ?? "");
const server = await serve();
const browser = await openBrowser();

async function visitor(address) {
  const context = await browser.newContext({ viewport: PHONE, reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(address);
  return { context, page };
}

async function shoot(page, name) {
  await painted(page);
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}

const to = (page, where) => page.evaluate((hash) => void (location.hash = hash), `#/${where}`);
const button = (page, name) => page.getByRole("button", { name, exact: typeof name === "string" });
const saved = (page) => page.locator("[data-chip]").filter({ hasText: "All saved" }).waitFor();

try {
  const { page } = await visitor(server.url);
  await page.getByLabel("Name of the shop").fill("Lantern & Co");
  await page.getByLabel("First store").fill("Harbour Street");
  await shoot(page, "1-shop");
  await button(page, "Continue").click();
  await page.getByLabel("Your name").fill("Ada Marsh");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await shoot(page, "2-you");
  await button(page, /^Open Lantern/).click();
  await button(page, "Start").click();
  await page.getByRole("heading", { name: "Your shop is open" }).waitFor();
  await shoot(page, "3-open");
  const file = { name: "goods.csv", mimeType: "text/csv", buffer: goods };
  await page.locator("input[type=file]").setInputFiles(file);
  await button(page, /^Bring in/).scrollIntoViewIfNeeded();
  await shoot(page, "4-goods");
  await button(page, /^Bring in/).click();
  await page.getByText(/\d+ added, /).waitFor();

  await to(page, "people");
  await button(page, "Add a person").click();
  await page.getByLabel("Name", { exact: true }).fill("Dilan Reyes");
  await button(page, "Add and invite").click();
  await page.getByRole("heading", { name: "Invitation for Dilan Reyes" }).waitFor();
  const link = (await page.getByText(/#\/enrol\//).textContent()) ?? "";
  await shoot(page, "5-invitation");

  const { page: phone, context } = await visitor(link.trim());
  await button(phone, "Sign in").click();
  await button(phone, "Start").click();
  await phone.goto(`${server.url}/#/today`);
  await phone.locator("[data-chip]").waitFor();
  await phone.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await saved(phone);
  await shoot(phone, "6-today");
  await to(phone, "receive");
  for (const words of ["enamel mug cream", "tea towel"]) {
    await phone.getByLabel("Scan, or search for a product").fill(words);
    await phone.locator(".found button").first().click();
    await phone.locator(".found").waitFor({ state: "detached" });
  }
  const mugs = phone.getByLabel("Quantity of Enamel mug, cream", { exact: true });
  await mugs.fill("24");
  await mugs.press("Enter");
  await saved(phone);
  await shoot(phone, "7-delivery");
  await context.setOffline(true);
  await button(phone, "One more Tea towel, fig").click();
  await phone
    .locator("[data-chip]")
    .filter({ hasText: /connection/i })
    .waitFor();
  await shoot(phone, "8-offline");
} finally {
  await browser.close();
  await server.close();
}
