import { fileURLToPath } from "node:url";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";
import { VitePWA } from "vite-plugin-pwa";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  plugins: [
    svelte(),
    VitePWA({
      // A new version waits until a person says so: nothing that is being typed is lost to it.
      registerType: "prompt",
      injectRegister: null,
      workbox: {
        globPatterns: ["**/*.{js,css,html,svg,png,wasm,webmanifest}"],
        // The other builds of SQLite's glue are never asked for.
        globIgnores: ["**/sqlite3-opfs-async-proxy*", "**/sqlite3-worker1*"],
        maximumFileSizeToCacheInBytes: 4 * 1024 * 1024,
        navigateFallback: "index.html",
        navigateFallbackDenylist: [/^\/v1\//],
        cleanupOutdatedCaches: true,
      },
      manifest: {
        id: "/",
        name: "Stockroom",
        short_name: "Stockroom",
        description: "Inventory that keeps working with no connection.",
        start_url: "/",
        scope: "/",
        display: "standalone",
        background_color: "#f6f5f2",
        theme_color: "#f6f5f2",
        icons: [
          { src: "/icon.svg", sizes: "any", type: "image/svg+xml" },
          { src: "/icon-192.png", sizes: "192x192", type: "image/png" },
          { src: "/icon-512.png", sizes: "512x512", type: "image/png" },
          { src: "/icon-512.png", sizes: "512x512", type: "image/png", purpose: "maskable" },
        ],
      },
    }),
  ],
  resolve: {
    // The sources themselves: one build, one set of types, no second step to forget.
    alias: { "@holdfast/browser": here("../../browser/src/index.ts") },
  },
  // SQLite finds its WASM file beside itself; a bundle of it in development would lose it.
  optimizeDeps: { exclude: ["@sqlite.org/sqlite-wasm"] },
  worker: { format: "es" },
  build: { target: "es2023", sourcemap: false, assetsInlineLimit: 0 },
  server: {
    fs: { allow: [here("../..")] },
    proxy: { "/v1": process.env["STOCKROOM_SERVER"] ?? "http://127.0.0.1:8040" },
  },
});
