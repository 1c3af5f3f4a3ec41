import { fileURLToPath } from "node:url";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

import { replicaProgram } from "./tools/replicaProgramPlugin.js";
import { serviceWorker } from "./tools/serviceWorkerPlugin.js";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  // Below whatever path a proxy gives it: everything is found beside the page, or beside who asks for it.
  base: "./",
  plugins: [
    svelte(),
    replicaProgram(here("../..")),
    serviceWorker(here("tools/serviceWorker.js"), here("public")),
  ],
  resolve: {
    // The sources themselves: one build, one set of types, no second step to forget.
    alias: { "@holdfast/browser": here("../../browser/src/index.ts") },
  },
  // SQLite finds its WASM file beside itself; a bundle of it in development would lose it.
  optimizeDeps: { exclude: ["@sqlite.org/sqlite-wasm"] },
  worker: {
    format: "es",
    // SQLite's own script apart from ours: a new version of the app is not a new version of it.
    rolldownOptions: {
      output: { codeSplitting: { groups: [{ name: "sqlite", test: /sqlite-wasm/ }] } },
    },
  },
  build: { target: "es2023", sourcemap: false, assetsInlineLimit: 0 },
  server: {
    fs: { allow: [here("../..")] },
    proxy: { "/v1": process.env["STOCKROOM_SERVER"] ?? "http://127.0.0.1:8040" },
  },
});
