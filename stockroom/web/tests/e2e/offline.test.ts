/** The app starts, writes and keeps its word with no server at all. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { World } from "../support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

test("it starts after the server is gone, and what was saved is still there", async () => {
  const dilan = await world.person("dilan");
  const { page } = dilan;
  await dilan.installed();
  await dilan.addProduct("CUP-9", "Cup nine", "2.00");
  await dilan.chip(/All saved to server/);
  await world.stopServer("SIGKILL");
  await dilan.receive("CUP-9", 6);

  // The tab goes away right after "saved"; a new one finds the work, without any server.
  await page.close();
  dilan.page = await dilan.context.newPage();
  await dilan.page.goto(dilan.cable.url);
  await dilan.page.getByRole("searchbox").waitFor();
  await dilan.chip(/Working without connection: \d+ changes? kept on this device/);
  await dilan.open("CUP-9");
  await dilan.onHand(6);

  // Signing out would lose it, so it cannot be done.
  await dilan.to("settings");
  await dilan.page.getByText(/signing out would lose it/).waitFor();
  expect(await dilan.page.getByRole("button", { name: "Sign out" }).isDisabled()).toBe(true);

  await world.startServer();
  await dilan.backOnline();
  await dilan.to("saved");
  await dilan.chip(/All saved to server/);
  const ben = await world.person("ada", { store: "Harbour Street" });
  await ben.open("CUP-9");
  await ben.onHand(6);
});
