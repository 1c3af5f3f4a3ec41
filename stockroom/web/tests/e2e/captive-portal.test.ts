/** A network that answers everything itself, with a page and status 200: nothing counts as sent. */

import { afterAll, beforeAll, expect, test } from "vitest";

import { World } from "../support/world.js";

const PORTAL = {
  status: 200,
  headers: { "content-type": "text/html; charset=utf-8" },
  body: "<!doctype html><title>Free WiFi</title><p>Accept the terms to go on.</p>",
};

let world: World;
beforeAll(async () => {
  world = await World.make();
});
afterAll(() => world.close());

test("a portal acknowledges nothing; the chip says what it may be, and all goes on after it", async () => {
  const dilan = await world.person("dilan", { stand: true });
  await dilan.installed();
  await dilan.addProduct("HAT-1", "Straw hat", "14.00");
  await dilan.chip(/All saved to server/);

  dilan.stand.answerFor(() => PORTAL);
  await dilan.receive("HAT-1", 5, "DN-9");
  await dilan.chip(/This network may want a sign-in: \d+ changes? kept here/);
  await dilan.to("saved");
  const note = dilan.page.locator("[data-connection=portal]");
  await note.getByText("Something else answered in place of the server").waitFor();
  await dilan.page.getByRole("button", { name: "Send now" }).click();
  await dilan.page.getByText("nothing was sent to it").last().waitFor();

  // The app itself does not come from the portal either, not even after a reload.
  const answered = dilan.stand.answered;
  await dilan.page.reload();
  await dilan.chip(/This network may want a sign-in: \d+ changes? kept here/);
  expect(dilan.stand.answered).toBeGreaterThan(answered);
  expect(await dilan.page.title()).toBe("Saved work · Stockroom");
  const received = "SELECT quantity FROM movement WHERE document = 'DN-9'";
  expect(await world.server(received)).toEqual([]);

  dilan.stand.answerFor(null);
  await dilan.page.getByRole("button", { name: "Send now" }).click();
  await dilan.chip(/All saved to server/);
  expect(await world.server(received)).toEqual([[5]]);
  await dilan.agrees();
});
