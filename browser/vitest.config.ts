import { defineConfig } from "vitest/config";

const shared = {
  // A hang is a failure; tests wait on conditions, and nothing honest comes near this.
  testTimeout: 120_000,
  hookTimeout: 120_000,
};

export default defineConfig({
  test: {
    // Servers and SQLite are heavy, and the machine has two cores.
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...shared,
          name: "node",
          include: ["tests/{unit,vectors,replica}/**/*.test.ts"],
        },
      },
      {
        test: {
          ...shared,
          name: "chromium",
          include: ["tests/chromium/**/*.test.ts"],
          globalSetup: ["tests/support/build.ts"],
        },
      },
    ],
  },
});
