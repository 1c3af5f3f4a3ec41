/** What a browser fetches before it can show anything stays small. */

import { existsSync } from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

const BUILT = path.resolve(import.meta.dirname, "../../dist/index.html");
const TOOL = "../../tools/measure/sizes.mjs";
const SHELL_BYTES_MAX = 170_000;
const FONT_BYTES_MAX = 60_000;
/** Of 16 tables; each brings some 3 kB of statements. */
const PROGRAM_BYTES_MAX = 64_000;

test.skipIf(!existsSync(BUILT))("the shell without SQLite is under 170 kB, packed", async () => {
  const { sizes } = (await import(TOOL)) as {
    sizes(): Promise<Record<"shell" | "fonts" | "program" | "sqliteScript" | "sqliteWasm", number>>;
  };
  const { shell, fonts, program, sqliteScript, sqliteWasm } = await sizes();
  expect(shell).toBeGreaterThan(20_000);
  expect(shell).toBeLessThan(SHELL_BYTES_MAX);
  expect(fonts).toBeGreaterThan(20_000);
  expect(fonts).toBeLessThan(FONT_BYTES_MAX);
  expect(program).toBeGreaterThan(10_000);
  expect(program).toBeLessThan(PROGRAM_BYTES_MAX);
  // SQLite is apart from it, and not hidden in it either.
  expect(sqliteScript).toBeGreaterThan(10_000);
  expect(sqliteWasm).toBeGreaterThan(100_000);
});
