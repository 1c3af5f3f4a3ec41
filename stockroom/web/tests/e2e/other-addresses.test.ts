/**
 * The app at other addresses than its own machine's: below a path of a proxy, by https on the shop's
 * network, and where it cannot work, which it says before anybody types a password.
 */

import { createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";

import { afterEach, expect, test } from "vitest";

import { type Browser, chromium, expect_, type Page } from "../support/browser.js";
import { Cable } from "../support/cable.js";
import { ReverseProxy } from "../support/proxy.js";
import { Person, World } from "../support/world.js";

const PHONE = { width: 390, height: 844 };
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function worldOf(...serve: readonly string[]): Promise<World> {
  const world = await World.make({ serve, movements: "60" });
  closing.push(() => world.close());
  return world;
}

async function browserOf(...options: readonly string[]): Promise<Browser> {
  const browser = await chromium(...options);
  closing.push(() => browser.close());
  return browser;
}

const signInOf = (page: Page) => page.getByLabel("Password");

test("below a path of a proxy all of it works, and where it cannot, it says so", async () => {
  const path = "/shop";
  const proxied = ["--proxy", "127.0.0.1", "--root-path", path];
  const world = await worldOf(...proxied, "--allowed-host", "shop.lan");
  const people: Person[] = [];
  for (const [name, strips] of [
    ["ada", false],
    ["dilan", true],
  ] as const) {
    const proxy = await ReverseProxy.put(() => world.port, path, { strips });
    closing.push(() => proxy.close());
    const context = await world.browser.newContext({ viewport: PHONE });
    const cable = await Cable.lay(() => proxy.port);
    closing.push(() => cable.close());
    const person = new Person(name, context, await context.newPage(), { cable, stand: null });
    await person.page.goto(`${cable.url}${path}${strips ? "/" : ""}`);
    expect(new URL(person.page.url()).pathname).toBe(`${path}/`);
    await signInOf(person.page).waitFor();
    people.push(person);
  }
  const [ada, dilan] = people as [Person, Person];
  await ada.signIn("Harbour Street", world.password);
  await dilan.signIn("", world.password);
  await ada.installed();
  const [cookie] = await ada.context.cookies(`${ada.cable.url}${path}/v1/`);
  expect([cookie?.name, cookie?.path, cookie?.httpOnly]).toEqual([
    ...["holdfast_token", `${path}/v1/`, true],
  ]);
  const kept = await ada.page.evaluate(async () => ({
    scope: (await navigator.serviceWorker.ready).scope,
    databases: (await indexedDB.databases()).map(({ name }) => name),
  }));
  expect(kept.scope).toBe(`${ada.cable.url}${path}/`);
  expect(kept.databases).toContain(`stockroom@${path}/`);
  const chrome = await ada.context.newCDPSession(ada.page);
  const { errors, url } = await chrome.send("Page.getAppManifest");
  expect([errors, url]).toEqual([[], `${ada.cable.url}${path}/manifest.webmanifest`]);

  // With no connection: it starts, works, sends by itself, and the other one hears of it.
  ada.cable.pull();
  await ada.page.goto(`${ada.cable.url}${path}/somewhere/else`);
  await ada.page.getByRole("searchbox").waitFor();
  await ada.addProduct("BELOW-1", "Below a path", "5.00");
  await ada.backOnline();
  await ada.chip(/All saved/);
  await dilan.open("BELOW-1");
  expect([...ada.errors, ...dilan.errors]).toEqual([]);

  // By plain http from elsewhere no browser keeps anything.
  const far = await browserOf("--host-resolver-rules=MAP *.lan 127.0.0.1");
  const lost = await far.newPage({ viewport: PHONE });
  await lost.goto(`http://shop.lan:${world.port}${path}/`);
  await expect_(lost.locator("[data-lack=address] h1"), /Use the safe address/);
  await expect_(lost.locator("main"), /http:\/\/shop\.lan.*--lan/s);
  expect(await signInOf(lost).count()).toBe(0);
  const strange = await lost.goto(`http://other.lan:${world.port}${path}/`);
  expect(strange?.status()).toBe(421);
  await expect_(lost.locator("main"), /http:\/\/other\.lan.*does not answer by that name/s);

  // And some browsers keep nothing wherever they are.
  const poor = await world.browser.newContext({ viewport: PHONE });
  await poor.addInitScript(() => {
    Reflect.deleteProperty(StorageManager.prototype, "getDirectory");
  });
  const page = await poor.newPage();
  await page.goto(`${world.url}${path}/`);
  await expect_(page.locator("[data-lack=storage]"), /cannot keep your work safely.*Missing here/s);
  expect(await signInOf(page).count()).toBe(0);
});

test("on the shop's own network a phone is led to https, signs in, and works offline", async () => {
  const world = await worldOf("--lan", "--allowed-host", "till.lan");
  const [, where = ""] = /certificate authority: (\S+)/.exec(world.said) ?? [];
  const authority = new X509Certificate(await readFile(where));
  const key = authority.publicKey.export({ type: "spki", format: "der" });
  const mark = createHash("sha256").update(key).digest("base64");
  const rules = "--host-resolver-rules=MAP *.lan 127.0.0.1, MAP *.local ~NOTFOUND";

  // A browser that knows nothing of the shop is warned of nothing before it is told what to do.
  const new_ = await (await browserOf(rules)).newPage({ viewport: PHONE });
  await new_.goto(`http://till.lan:${world.port}/`);
  await expect_(new_.locator("#state"), /does not trust your shop yet/);
  await expect_(new_.locator("details[open]"), /Get the certificate/);
  expect(await signInOf(new_).count()).toBe(0);
  await expect(new_.goto(`https://till.lan:${world.port}/`)).rejects.toThrow(/CERT_AUTHORITY/);

  // One that trusts the authority is sent on.
  const trusting = await browserOf(rules, `--ignore-certificate-errors-spki-list=${mark}`);
  const context = await trusting.newContext({ viewport: PHONE });
  const page = await context.newPage();
  const ada = new Person("ada", context, page, await world.way());
  await page.goto(`http://till.lan:${world.port}/`);
  await expect_(page.locator("#state.good"), /trusts your shop/);
  await page.getByRole("link", { name: /^Open https/ }).click();
  await signInOf(page).waitFor();
  expect(new URL(page.url()).origin).toBe(`https://till.lan:${world.port}`);
  await ada.signIn("Harbour Street", world.password);
  const [cookie] = await context.cookies();
  expect([cookie?.secure, cookie?.httpOnly]).toEqual([true, true]);
  await ada.installed();
  await context.setOffline(true);
  await page.reload();
  await page.getByRole("searchbox").waitFor();
  await ada.addProduct("HTTPS-1", "By https", "5.00");
  await context.setOffline(false);
  await ada.chip(/All saved/);
  expect(ada.errors).toEqual([]);
});
