/** A new version of the app: noticed, offered, and taken without losing a draft or unsent work. */

import { cp, readdir, readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Barriers } from "../support/barriers.js";
import { BUILT, Person, World } from "../support/world.js";

let world: World;
let dilan: Person;
beforeAll(async () => {
  world = await World.make({ ownWeb: true });
  dilan = await world.person("dilan");
  await dilan.installed();
});
afterAll(() => world.close());

/** As a deployment does: the files of another build take the place of the old ones, names and all. */
async function deploy(version: string): Promise<void> {
  const folder = world.web ?? "";
  await cp(BUILT, folder, { recursive: true, force: true });
  const assets = await readdir(path.join(folder, "assets"));
  const scripts = assets.filter((name) => /^(?:index|worker)-.*\.js$/.test(name));
  expect(scripts.length).toBeGreaterThanOrEqual(2);
  const files = [...scripts.map((name) => `assets/${name}`), "index.html", "sw.js"];
  for (const file of files) {
    let text = await readFile(path.join(folder, file), "utf8");
    for (const name of scripts) text = text.replaceAll(name, renamed(name, version));
    if (file === "sw.js") text = text.replace(/const VERSION = "/, `const VERSION = "${version}`);
    if (file === "index.html")
      text = text.replace("</head>", `<meta name="deployed" content="${version}" /></head>`);
    await writeFile(path.join(folder, file), text);
  }
  for (const name of scripts)
    await rename(
      path.join(folder, "assets", name),
      path.join(folder, "assets", renamed(name, version)),
    );
}

const renamed = (name: string, version: string): string =>
  name.replace(/-[^-.]+\.js$/, `-${version}00000.js`);

/** What is shown is of this deployment. */
async function shows(person: Person, version: string): Promise<void> {
  await person.page
    .locator(`meta[name=deployed][content=${version}]`)
    .waitFor({ state: "attached" });
}

test("it is offered while somebody types, and nothing typed or unsent is lost", async () => {
  const { page } = dilan;
  await dilan.addProduct("KEY-1", "Key ring", "2.00");
  await dilan.receive("KEY-1", 8, "K-1");
  await dilan.chip(/All saved to server/);
  // Unsent work: the person wants to stay offline, while the app's own files can be fetched.
  await dilan.to("sync/device");
  await page.getByRole("switch").check();
  await dilan.adjustTo("KEY-1", 6);
  await dilan.chip(/Staying offline: 1 change kept on this device/);

  // A product that is half typed, and a scanned code before it.
  await dilan.to("product/new?barcode=4006381333931");
  await page.getByLabel("Name", { exact: true }).fill("Half a na");
  await page.getByLabel("Price", { exact: true }).fill("3.5");
  await deploy("two");
  await dilan.backOnline();
  await page.getByText("A new version is ready").waitFor();
  const barriers = new Barriers(page);
  await barriers.look("a new version over a form");
  expect(barriers.found).toEqual({});
  // Offered only: what is on the screen is the old one still, untouched.
  expect(await page.locator("meta[name=deployed]").count()).toBe(0);
  expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("Half a na");

  await page.getByRole("button", { name: "Reload" }).click();
  await page.getByText("Picked up where you left off").waitFor();
  await shows(dilan, "two");
  expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("Half a na");
  expect(await page.getByLabel("Price", { exact: true }).inputValue()).toBe("3.5");
  await page.getByText("4006381333931").waitFor();
  await dilan.chip(/Staying offline: 1 change kept on this device/);
  await dilan.to("sync/device");
  await page.getByRole("switch").uncheck();
  await dilan.chip(/All saved to server/);
  expect(await world.server("SELECT quantity FROM movement WHERE kind = 'damage'")).toContainEqual([
    -2,
  ]);
});

test("a second tab that is still the old one works on, and is told", async () => {
  const { page } = dilan;
  const other = new Person("dilan", dilan.context, await dilan.context.newPage(), dilan.way);
  await other.page.goto(dilan.cable.url);
  await other.open("KEY-1");
  await other.page.getByRole("link", { name: "Adjust" }).click();
  await other.page.getByLabel("What you see on the shelf").fill("4");

  await deploy("three");
  await dilan.backOnline();
  await page.getByText("A new version is ready").waitFor();
  await page.getByRole("button", { name: "Reload" }).click();
  await other.page.getByText("Another tab has moved to a new version").waitFor();
  await shows(dilan, "three");
  await shows(other, "two");

  await other.page.getByRole("button", { name: "Reload" }).click();
  await other.page.getByText(/6 becomes 4/).waitFor();
  await shows(other, "three");
  await other.page.getByRole("button", { name: /^Record/ }).click();
  await other.page.getByText(/Recorded .* saved on this device/).waitFor();
  await other.onHand(4);
  await dilan.chip(/All saved to server/);
  // And it starts without any server, as the new version.
  dilan.cable.pull();
  await dilan.page.reload();
  await dilan.page.getByRole("searchbox").or(dilan.page.locator("[data-chip]")).first().waitFor();
  await shows(dilan, "three");
  dilan.cable.plug();
  await dilan.chip(/All saved to server/);
  await dilan.agrees();
  expect(other.errors).toEqual([]);
});
