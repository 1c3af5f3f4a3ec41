import { defineConfig } from "vitest/config";

/** What is measured, not tested: `npm run measure`. */
export default defineConfig({
  test: {
    include: ["tests/measure/**/*.measure.ts"],
    globalSetup: ["tests/support/build.ts"],
    testTimeout: 600_000,
    hookTimeout: 60_000,
    fileParallelism: false,
    disableConsoleIntercept: true,
  },
});
