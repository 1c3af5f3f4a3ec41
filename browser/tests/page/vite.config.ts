import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  logLevel: "warn",
  // The package as it is published.
  resolve: {
    alias: { "@holdfast/browser": fileURLToPath(new URL("../../dist/index.js", import.meta.url)) },
  },
  worker: { format: "es" },
  build: {
    outDir: fileURLToPath(new URL("../.build/site", import.meta.url)),
    emptyOutDir: true,
    target: "es2023",
    chunkSizeWarningLimit: 2000,
  },
});
