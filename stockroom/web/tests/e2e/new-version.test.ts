/** A new version of the app: noticed, offered, and taken without losing a draft or unsent work. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { Barriers } from "../support/barriers.js";
import { deploy, shows } from "../support/deploy.js";
import { Person, World } from "../support/world.js";

let world: World;
let dilan: Person;
beforeAll(async () => {
  world = await World.make({ ownWeb: true });
  dilan = await world.person("dilan");
  await dilan.installed();
});
afterAll(() => world.close());

test("it is offered while somebody types, and nothing typed or unsent is lost", async () => {
  const { page } = dilan;
  await dilan.addProduct("KEY-1", "Key ring", "2.00");
  await dilan.receive("KEY-1", 8, "K-1");
  await dilan.chip(/All saved to server/);
  // Unsent work: the person wants to stay offline, while the app's own files can be fetched.
  await dilan.to("saved/device");
  await page.getByRole("switch").check();
  await dilan.adjustTo("KEY-1", 6);
  await dilan.chip(/Staying offline: \d+ changes? kept on this device/);

  // A product that is half typed, and a scanned code before it.
  await dilan.to("product/new?barcode=4006381333931");
  await page.getByLabel("Name", { exact: true }).fill("Half a na");
  await page.getByLabel("Price", { exact: true }).fill("3.5");
  await deploy(world, "two");
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
  await dilan.chip(/Staying offline: \d+ changes? kept on this device/);
  await dilan.to("saved/device");
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
  await other.page.getByRole("radio", { name: "Damaged" }).check();

  await deploy(world, "three");
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
