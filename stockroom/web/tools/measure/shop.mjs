/**
 * A real server with a large shop, a real browser with a profile on disk, and a person signed in.
 *
 * Knows: how they are started and ended. Must not know: what is measured. Only processes that were
 * started here are ended here.
 */
import { spawn } from "node:child_process";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";
import { build } from "vite";

const WEB = fileURLToPath(new URL("../..", import.meta.url));
const ROOT = path.resolve(WEB, "../..");
const PASSWORD = "stockroom demo";
const LOAD_MS_MAX = 1_800_000;
const VIEW = { width: 390, height: 844 };

/** `stockroom serve --demo` with so many products and movements; ends with `stop`. */
export async function startServer({ database, web, port, products, movements }) {
  const size = ["--demo-products", products, "--demo-movements", movements];
  const child = spawn(
    path.join(ROOT, ".venv/bin/stockroom"),
    ["serve", "--demo", ...size, "--port", port, "--database", database, "--web", web],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const url = await new Promise((ready, failed) => {
    let said = "";
    child.stdout.on("data", (piece) => {
      said += piece;
      const found = /^ready (\S+)$/m.exec(said);
      if (found) ready(found[1]);
    });
    child.on("exit", () => failed(new Error(`the server ended: ${said}`)));
  });
  const stop = async () => {
    const ended = new Promise((over) => child.on("exit", over));
    if (child.exitCode === null && child.kill("SIGTERM")) await ended;
  };
  return { url, stop };
}

/** The built app, and beside it the client of this tool. */
export async function site(folder) {
  await cp(path.join(WEB, "dist"), folder, { recursive: true });
  await build({
    root: WEB,
    configFile: path.join(WEB, "vite.config.ts"),
    logLevel: "error",
    plugins: [],
    publicDir: false,
    build: {
      outDir: path.join(folder, "measure"),
      emptyOutDir: true,
      lib: {
        entry: path.join(WEB, "tools/measure/client.ts"),
        formats: ["es"],
        fileName: "client",
      },
    },
  });
  await mkdir(path.join(folder, "measure"), { recursive: true });
  await writeFile(path.join(folder, "measure/idle.js"), "export {};\n");
}

/** A browser on a profile: what it stores is on disk, and there again when it is opened again. */
export async function openBrowser(profile) {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    viewport: VIEW,
    reducedMotion: "reduce",
  });
  await context.addInitScript(await readFile(new URL("inPage.js", import.meta.url), "utf8"));
  const page = context.pages()[0] ?? (await context.newPage());
  page.on("pageerror", (error) => console.error(`the page: ${error.message}`));
  return { context, page };
}

/** Sign in and load everything; milliseconds from the button to "ready". */
export async function firstLoad(page, url, store) {
  await page.goto(url);
  await page.getByLabel("Name", { exact: true }).fill("ada");
  await page.getByLabel("Password").fill(PASSWORD);
  const began = performance.now();
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByText("Ready to work without connection").waitFor({ timeout: LOAD_MS_MAX });
  const tookMs = performance.now() - began;
  await page.getByLabel(store).check();
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("searchbox").waitFor();
  return tookMs;
}

/** A kept profile has the app of the time before: make it the one that was built last. */
export async function renew(page, url) {
  await page.goto(url);
  await page.evaluate(async () => {
    const found = await navigator.serviceWorker.ready;
    await found.update();
    const next = found.installing ?? found.waiting;
    if (next === null) return;
    const reached = (state) =>
      new Promise((resolve) => {
        const look = () => next.state === state && resolve();
        next.addEventListener("statechange", look);
        look();
      });
    if (next.state === "installing") await reached("installed");
    next.postMessage("take over");
    await reached("activated");
  });
}
