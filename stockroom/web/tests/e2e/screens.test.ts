/** Every screen, in both themes: no barrier that axe knows of; and text is never markup. */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type Person, World } from "../support/world.js";

interface Finding {
  readonly id: string;
  readonly nodes: readonly string[];
}

const NASTY = '<img src=x onerror="window.hacked=1">';
let world: World;
let ada: Person;
let product = "";

beforeAll(async () => {
  world = await World.make();
  ada = await world.person("ada", { store: "Harbour Street" });
  await ada.addProduct("NASTY", NASTY, "1.00");
  product = new URL(ada.page.url()).hash.split("/")[2] ?? "";
  await ada.receive("NASTY", 3, "<b>DN</b>");
});
afterAll(() => world.close());

async function barriers(person: Person): Promise<Finding[]> {
  const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
  // The page's own policy lets no foreign script in; the debugger may.
  await person.page.evaluate(await readFile(axe, "utf8"));
  return await person.page.evaluate(async () => {
    const run = (globalThis as unknown as { axe: { run(): Promise<{ violations: unknown[] }> } })
      .axe;
    const found = (await run.run()).violations as { id: string; nodes: { html: string }[] }[];
    return found.map(({ id, nodes }) => ({
      id,
      nodes: nodes.map(({ html }) => html.slice(0, 160)),
    }));
  });
}

test.each(["light", "dark"] as const)("no barriers, %s", async (scheme) => {
  await ada.page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
  const screens: readonly (readonly [string, string])[] = [
    ["stock", "Stock"],
    [`product/${product}`, NASTY],
    [`product/${product}/edit`, "Edit product"],
    [`product/${product}/adjust`, "Adjust stock"],
    ["product/new", "New product"],
    ["receive", "Receive a shipment"],
    ["scan", "Scan"],
    ["sync/waiting", "Sync centre"],
    ["sync/needs", "Sync centre"],
    ["sync/history", "Sync centre"],
    ["sync/device", "Sync centre"],
  ];
  const found: Record<string, Finding[]> = {};
  for (const [path, title] of screens) {
    await ada.to(path);
    await ada.page
      .getByRole("heading", { name: title, exact: true })
      .first()
      .waitFor({ state: "attached" });
    const here = await barriers(ada);
    if (here.length > 0) found[path] = here;
  }
  expect(found).toEqual({});
});

test("no barriers in what is told of trouble", async () => {
  ada.cable.pull();
  await ada.receive("NASTY", 1);
  await ada.chip(/Working without connection: 1 change kept/);
  await ada.to("sync");
  await ada.page.locator("[data-connection=away]").waitFor();
  expect(await barriers(ada)).toEqual([]);
  const disk = await ada.context.newCDPSession(ada.page);
  await disk.send("Storage.overrideQuotaForOrigin", { origin: ada.cable.url, quotaSize: 1 });
  await ada.to(`product/${product}/adjust`);
  await ada.page.getByLabel("What you see on the shelf").fill("9");
  await ada.page.getByRole("button", { name: /^Record/ }).click();
  await ada.page.getByRole("alert").getByText("no room left").waitFor();
  expect(await barriers(ada)).toEqual([]);
  await disk.send("Storage.overrideQuotaForOrigin", { origin: ada.cable.url });
  await ada.backOnline();
  await ada.chip(/All saved to server/);
});

test("text from anywhere is text", async () => {
  for (const path of [`product/${product}`, "stock", "sync/history"]) {
    await ada.to(path);
    await ada.page.getByText(NASTY).first().waitFor();
  }
  expect(await ada.page.evaluate(() => "hacked" in window)).toBe(false);
  expect(await ada.page.locator("img[src=x]").count()).toBe(0);
  expect(ada.errors).toEqual([]);
});
