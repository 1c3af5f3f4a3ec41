/** Builds the package, and the test page with it, before the tests in Chromium begin. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { SITE } from "./page.js";
import { HERE } from "./processes.js";

export default function build(): void {
  const browser = join(HERE, "..", "..");
  const bin = join(browser, "node_modules");
  const run = (...args: string[]): unknown =>
    execFileSync(process.execPath, args, { cwd: browser, stdio: "pipe" });
  run(join(bin, "typescript", "bin", "tsc"), "-p", "tsconfig.build.json");
  run(join(bin, "vite", "bin", "vite.js"), "build", "--config", "tests/page/vite.config.ts");
  if (!existsSync(join(SITE, "index.html"))) throw new Error("the test page was not built");
}
