/**
 * What the app weighs: the gzip of what a browser fetches for its shell, and of SQLite apart from it.
 *
 * Knows: the files of a build. Must not know: what they do.
 */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
/** Other builds of SQLite's glue, which nothing asks for. */
const LEFT_OUT = /sqlite3-(?:opfs-async-proxy|worker1)/;

const isSqlite = (name) => /sqlite/.test(name);
/** The replica's SQL, which is data: it is needed once a device is signed in. */
const isProgram = (name) => /replica-program/.test(name);
/** Loaded only once a file is damaged. */
const isSalvage = (name) => /assets\/salvage-/.test(name);

/** Bytes after gzip by file; the shell is all that is neither SQLite (its WASM, and its own script for it) nor the replica program,
 * nor what a damaged file needs. */
export async function sizes() {
  const files = {};
  for (const name of await readdir(DIST, { recursive: true })) {
    if (LEFT_OUT.test(name) || !/\.(?:js|css|html|svg|webmanifest|wasm)$/.test(name)) continue;
    const bytes = await readFile(path.join(DIST, name));
    files[name] = (await promisify(gzip)(bytes, { level: 9 })).length;
  }
  const sum = (isIn) =>
    Object.entries(files).reduce((all, [name, size]) => all + (isIn(name) ? size : 0), 0);
  return {
    files,
    shell: sum((name) => !isSqlite(name) && !isProgram(name) && !isSalvage(name)),
    program: sum(isProgram),
    salvage: sum(isSalvage),
    sqliteScript: sum((name) => isSqlite(name) && !name.endsWith(".wasm")),
    sqliteWasm: sum((name) => name.endsWith(".wasm")),
  };
}
