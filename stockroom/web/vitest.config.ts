import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

import { replicaProgram } from "./tools/replicaProgramPlugin.js";

// Each file has a server and browsers of its own; two cores are shared with them.
export default defineConfig({
  plugins: [replicaProgram(fileURLToPath(new URL("../..", import.meta.url)))],
  resolve: {
    alias: {
      "@holdfast/browser": fileURLToPath(new URL("../../browser/src/index.ts", import.meta.url)),
    },
  },
  test: {
    include: ["tests/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
