/** The first run, when something comes between: it says what, and there is always a way on. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { serversOwn } from "../support/stand.js";
import { PASSWORD, type Person, World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

async function enterPassword({ page }: Person): Promise<void> {
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

test("a first load that has lost its sign-in asks for it, and goes on", async () => {
  const person = await world.newcomer("dilan", { stand: true });
  const { page, stand } = person;
  stand.answerFor((path, headers) =>
    path.startsWith("/v1/exchange") ? serversOwn(503, "database_full", headers) : null,
  );
  await page.getByLabel("Name", { exact: true }).fill("dilan");
  await enterPassword(person);
  await page.getByRole("heading", { name: "Getting your stock" }).waitFor();
  // What is in the way is said with what happens next, and it is the server's.
  await expect_(page.locator("[data-connection=server]"), /The server is there.*Trying again/s);

  await person.context.clearCookies();
  stand.answerFor(null);
  const note = page.locator("[data-parked=signIn]");
  await expect_(note, /sign in again/);
  expect(await page.getByText("Waiting for the server").isVisible()).toBe(false);
  await note.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Sign in again" }).waitFor();
  expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("dilan");

  // Loaded again right there, it is the same screen, and still knows who this is.
  await page.reload();
  await page.getByRole("heading", { name: "Sign in again" }).waitFor();
  expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("dilan");
  await enterPassword(person);
  await person.start();
  await person.chip(/All saved to server/);
  await person.agrees();
});

test("the app brings its program, and asks no server for one", async () => {
  const person = await world.newcomer("ada", { stand: true });
  const { page, stand } = person;
  let asked = 0;
  stand.answerFor((path, headers) => {
    if (!path.startsWith("/v1/program")) return null;
    asked += 1;
    return serversOwn(503, "database", headers);
  });
  await page.getByLabel("Name", { exact: true }).fill("ada");
  await enterPassword(person);
  await page.getByText("Ready to work without connection").waitFor();
  expect(asked).toBe(0);
  expect(person.errors).toEqual([]);
});
