/**
 * A server that answers with errors: the app says when it tries again, in plain words, and does.
 *
 * Checks I29.
 */

import { afterAll, beforeAll, expect, test } from "vitest";

import { expect_ } from "../support/browser.js";
import { serversOwn } from "../support/stand.js";
import { type Person, World } from "../support/world.js";

let world: World;
let dilan: Person;
beforeAll(async () => {
  world = await World.make();
  dilan = await world.person("dilan", { stand: true });
  await dilan.addProduct("BAG-1", "Bag", "3.00");
  await dilan.chip(/All saved to server/);
});
afterAll(() => world.close());

const received = (): Promise<unknown[][]> =>
  world.server("SELECT document, quantity FROM movement WHERE document LIKE 'T-%' ORDER BY 1");

test("503 with Retry-After: it is not asked before its time, and the time is told", async () => {
  dilan.stand.answerFor((path) =>
    path.startsWith("/v1/")
      ? { status: 503, headers: { "retry-after": "200" }, body: "<h1>Maintenance</h1>" }
      : null,
  );
  await dilan.receive("BAG-1", 4, "T-1");
  await dilan.chip(/The server has trouble: \d+ changes? kept here, next try \d\d:\d\d/);
  await dilan.to("sync");
  const note = dilan.page.locator("[data-connection=server]");
  await expect_(note, /The server is there, but it has trouble at the moment/);
  // It said two hundred seconds; some jitter comes on top, and never less.
  const told = /Retrying automatically in (?:(\d+) s|(\d) min)/.exec(
    (await note.textContent()) ?? "",
  );
  expect(told?.[2]).toMatch(/^[34]$/);
  const words = (await note.textContent()) ?? "";
  expect(words).not.toMatch(/503|Maintenance|server_trouble/);

  // Work goes on meanwhile, and asks the server for nothing.
  const asked = dilan.stand.answered;
  await dilan.adjustTo("BAG-1", 3);
  await dilan.chip(/The server has trouble: \d+ changes? kept here/);
  expect(dilan.stand.answered).toBe(asked);
  expect(await received()).toEqual([]);

  // A person need not wait for it.
  dilan.stand.answerFor(null);
  await dilan.to("sync");
  await dilan.page.getByRole("button", { name: "Send now" }).click();
  await dilan.page.getByText("both sides agree").waitFor();
  expect(await received()).toEqual([["T-1", 4]]);
  await dilan.chip(/All saved to server/);
});

test.each([
  ["database_full", /The server has trouble: \d+ changes? kept here/, "server"],
  ["database", /The server has trouble: \d+ changes? kept here/, "server"],
  ["busy", /The server asks to wait: \d+ changes? kept here/, "busy"],
] as const)("503 %s is told of the server, not of this device", async (code, words, trouble) => {
  dilan.stand.answerFor((path, headers) =>
    path.startsWith("/v1/exchange") ? serversOwn(503, code, headers) : null,
  );
  await dilan.receive("BAG-1", 1, `C-${code}`);
  await dilan.chip(words);
  await dilan.to("sync");
  const note = dilan.page.locator(`[data-connection=${trouble}]`);
  await expect_(note, /^\s*The server/);
  expect((await note.textContent()) ?? "").not.toMatch(/device/i);

  // A person who asks for it hears the same; it is the server's own code that was understood.
  await dilan.page.getByRole("button", { name: "Send now" }).click();
  await expect_(dilan.page.locator(".toast"), /The server (is there|has much)/);
  await dilan.to("saved/device");
  await dilan.page.getByText(`For support: ${code}`).waitFor();

  dilan.stand.answerFor(null);
  await dilan.to("sync");
  await dilan.page.getByRole("button", { name: "Send now" }).click();
  await dilan.chip(/All saved to server/);
});

test("500 again and again: it tries by itself until it works", async () => {
  let failures = 0;
  dilan.stand.answerFor((path) => {
    if (!path.startsWith("/v1/exchange")) return null;
    failures += 1;
    return { status: 500, body: "Internal Server Error" };
  });
  await dilan.receive("BAG-1", 6, "T-2");
  await dilan.chip(/The server has trouble: \d+ changes? kept here, next try soon/);
  await expect.poll(() => failures, { timeout: 30_000 }).toBeGreaterThan(2);
  dilan.stand.answerFor(null);
  await dilan.chip(/All saved to server/);
  expect(await received()).toEqual([
    ["T-1", 4],
    ["T-2", 6],
  ]);
  await dilan.agrees();
});
