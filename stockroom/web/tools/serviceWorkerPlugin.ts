/**
 * Writes `sw.js` at the end of a build: the service worker, with the list of what was built.
 *
 * Knows: which files an app needs to start. Must not know: what they do.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import type { Plugin } from "vite";

/** Other builds of SQLite's glue, which nothing asks for. */
const LEFT_OUT = /sqlite3-(?:opfs-async-proxy|worker1)/;
/** Large, and not for everybody: kept once it is asked for. */
const LATER = /assets\/(?:decoder|zxing_reader)-/;

export function serviceWorker(source: string, publicFolder: string): Plugin {
  return {
    name: "stockroom-service-worker",
    apply: "build",
    enforce: "post",
    generateBundle(_options, bundle) {
      const hash = createHash("sha256");
      const files: string[] = [];
      const later: string[] = [];
      for (const [name, item] of Object.entries(bundle)) {
        if (LEFT_OUT.test(name)) continue;
        (LATER.test(name) ? later : files).push(name);
        hash.update(item.type === "chunk" ? item.code : item.source);
      }
      for (const name of readdirSync(publicFolder)) {
        files.push(name);
        hash.update(readFileSync(path.join(publicFolder, name)));
      }
      const code = readFileSync(source, "utf8");
      hash.update(code);
      // The page itself comes last in a build, and may not be in the bundle yet.
      if (!files.includes("index.html")) files.push("index.html");
      const version = hash.digest("hex").slice(0, 16);
      const head = Object.entries({ VERSION: version, FILES: files.sort(), LATER: later.sort() })
        .map(([name, value]) => `const ${name} = ${JSON.stringify(value)};\n`)
        .join("");
      this.emitFile({ type: "asset", fileName: "sw.js", source: head + code });
    },
  };
}
