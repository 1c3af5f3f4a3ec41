/** The test page: where it is built, and the replica that is opened in it. */

import { join } from "node:path";

import type { Page } from "playwright-core";

import type { openReplica, TabReplica } from "../../src/index.js";
import { until } from "./chromium.js";
import { HERE } from "./processes.js";

declare global {
  var holdfast: { openReplica: typeof openReplica };
  var replica: TabReplica;
}

export const SITE = join(HERE, "..", ".build", "site");

/** Open the replica, quick to try again. `token`: null for the cookie's. */
export async function open(page: Page, token: string | null = "token-a"): Promise<void> {
  await page.evaluate(async (given) => {
    const session = {
      heartbeatMs: 10_000,
      pollMs: 500,
      pollWithStreamMs: 60_000,
      watchdogMs: 120_000,
    };
    const backoff = { baseMs: 50, capMs: 500, spreadMs: 50, retryAfterMsMax: null };
    const rest = { hintMs: 100, budgetCapacity: 100, budgetRefillMs: 100 };
    globalThis.replica = await holdfast.openReplica({
      name: "shop",
      server: "/",
      session: { ...session, ...rest, backoff },
      ...(given === null ? {} : { token: given }),
    });
  }, token);
}

/** Wait until nothing is pending and the server has confirmed it. */
export async function settled(page: Page): Promise<void> {
  await until(
    page,
    async () => {
      const { state, pending, sent, loading } = await replica.status();
      return state === "online" && pending + sent === 0 && loading === null;
    },
    null,
  );
}
