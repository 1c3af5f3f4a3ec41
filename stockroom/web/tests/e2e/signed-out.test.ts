/** Signing out removes what is stored here, whatever tabs are open; and none of them works on without it. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { until } from "../support/browser.js";
import { Person, World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

/** What this origin keeps in files. */
const files = (person: Person): Promise<string[]> =>
  person.page.evaluate(async () => {
    const folder = await navigator.storage.getDirectory();
    const names: string[] = [];
    for await (const name of folder.keys()) names.push(name);
    return names;
  });

async function otherTab(person: Person): Promise<Person> {
  const other = new Person(person.name, person.context, await person.context.newPage(), person.way);
  await other.page.goto(person.cable.url);
  await other.page.getByRole("searchbox").waitFor();
  return other;
}

async function signOut(person: Person): Promise<void> {
  await person.to("settings");
  await person.page.getByRole("button", { name: "Sign out", exact: true }).click();
  await person.page.getByRole("button", { name: "Yes, sign out" }).click();
  await person.page.getByRole("heading", { name: "Welcome to Stockroom" }).waitFor();
}

test.each([
  ["the tab that has the file", 0],
  ["another tab than the one that has the file", 1],
])("signed out in %s: nothing is left, in any tab", async (_, which) => {
  const first = await world.person("dilan");
  const second = await otherTab(first);
  await second.addProduct(`OUT-${which}`, "Jar", "1.00");
  await second.chip(/All saved to server/);
  expect(await files(first)).toHaveLength(1);
  const [leaver, other] = which === 0 ? [first, second] : [second, first];
  await signOut(leaver);

  await other.page.getByRole("heading", { name: "Welcome to Stockroom" }).waitFor();
  await until("nothing is left", async () => (await files(leaver)).length === 0);

  // The next one to sign in begins anew, in whichever tab; what they do is kept and sent.
  await other.signIn();
  await other.addProduct(`OUT-${which}-B`, "Lid", "1.00");
  await other.chip(/All saved to server/);
  await other.page.reload();
  await other.open(`OUT-${which}-B`);
  await other.agrees();
  expect(leaver.errors).toEqual([]);
  expect(await files(leaver)).toHaveLength(1);
});

test("a sign-out that cannot reach the server says so, and changes nothing", async () => {
  const dilan = await world.person("dilan");
  dilan.cable.pull();
  await dilan.to("settings");
  await dilan.page.getByRole("button", { name: "Sign out", exact: true }).click();
  await dilan.page.getByRole("button", { name: "Yes, sign out" }).click();
  await dilan.page.locator(".toast").getByText("The server cannot be reached.").waitFor();
  await dilan.backOnline();
  await dilan.chip(/All saved to server/);
  await dilan.agrees();
});
