/**
 * Another tab of the app's origin that only writes: the package's own client, without a screen.
 *
 * Knows: how the browser package is built into one script. Must not know: what is written. It leaves it
 * to the app's tabs to lead; what it asks for goes the way of all tabs.
 */

import path from "node:path";

import { build } from "vite";

import type { openReplica, TabReplica } from "../../../../browser/src/index.js";
import type { Page } from "./browser.js";

const ENTRY = path.resolve(import.meta.dirname, "../../../../browser/src/index.ts");

declare global {
  var tab: TabReplica;
  var letGo: () => Promise<void>;
}

let bundled: Promise<string> | null = null;

async function bundle(): Promise<string> {
  const built = await build({
    configFile: false,
    logLevel: "silent",
    build: {
      write: false,
      minify: false,
      lib: { entry: ENTRY, formats: ["iife"], name: "holdfast" },
    },
  });
  const [first] = Array.isArray(built) ? built : [built];
  if (first === undefined || !("output" in first)) throw new Error("nothing was built");
  return first.output[0].code;
}

/** From now on `tab`, in the page, is the replica. */
export async function openTab(page: Page): Promise<void> {
  bundled ??= bundle();
  await page.evaluate(`${await bundled}; globalThis.holdfast = holdfast`);
  await page.evaluate(async () => {
    const { held = [] } = await navigator.locks.query();
    const names = held.map(({ name }) => /^holdfast:([^:]+)$/.exec(name ?? "")?.[1]);
    const name = names.find((one) => one !== undefined);
    if (name === undefined) throw new Error("nobody leads");
    const { holdfast } = globalThis as unknown as { holdfast: { openReplica: typeof openReplica } };
    // The app's own workers lead; this one never stands for it.
    const worker = (): Worker => ({ postMessage: () => undefined, onerror: null }) as never;
    globalThis.tab = await holdfast.openReplica({ name, server: location.origin, worker });
  });
}

/**
 * In the middle of a transaction of that tab: until the answer is called, nothing of the device's replica
 * is read or written by anybody.
 */
export async function holdReplica(page: Page): Promise<() => Promise<void>> {
  await page.evaluate(async () => {
    await new Promise<void>((holds) => {
      let isOver = false;
      const held = tab.transaction(async (tx) => {
        // A transaction that says nothing for long would be undone.
        for (; !isOver; await new Promise((look) => setTimeout(look, 50))) {
          await tx.execute("SELECT 1");
          holds();
        }
      });
      globalThis.letGo = () => {
        isOver = true;
        return held;
      };
    });
  });
  return () => page.evaluate(() => letGo());
}
