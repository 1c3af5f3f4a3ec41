import { defineConfig } from "vitest/config";

// Each file has a server and browsers of its own; two cores are shared with them.
export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
