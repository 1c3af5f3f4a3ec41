import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // A hang is a failure; tests wait on conditions, and nothing honest comes near this.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Servers and SQLite are heavy, and the machine has two cores.
    maxWorkers: 2,
  },
});
