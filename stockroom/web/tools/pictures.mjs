// What both picture tools need: a server of their own on a scratch database, a browser, and words to wait for.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { chromium } from "playwright-core";

export const ROOT = path.resolve(import.meta.dirname, "../../..");

/** A server with these options, and what ends it and removes its files. */
export async function serve(...options) {
  const scratch = await mkdtemp(path.join(tmpdir(), "stockroom-shots-"));
  const database = path.join(scratch, "shop.db");
  const server = spawn(
    path.join(ROOT, ".venv/bin/stockroom"),
    ["serve", ...options, "--port", "0", "--database", database],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const url = await new Promise((ready, failed) => {
    let said = "";
    server.stdout.on("data", (piece) => {
      said += piece;
      const found = /^ready (\S+)$/m.exec(said);
      if (found) ready(found[1]);
    });
    server.on("exit", () => failed(new Error(said)));
  });
  const close = async () => {
    const ended = new Promise((over) => server.on("exit", over));
    server.kill("SIGTERM");
    await ended;
    await rm(scratch, { recursive: true, force: true });
  };
  return { url, close };
}

export const openBrowser = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });

/** Everything that is shown is painted, fonts included. */
export async function painted(page) {
  await page.waitForFunction(() => document.fonts.ready);
  await page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
  );
}
