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
/** Kept on the device with the shell, and shown as soon as they are there. */
const isFont = (name) => /\.woff2$/.test(name);
/** Loaded only once a file is damaged. */
const isSalvage = (name) => /assets\/salvage-/.test(name);

/** Reads the camera's pictures, where the browser cannot: loaded only then. */
const isDecoder = (name) => /assets\/(?:decoder|zxing_reader)-/.test(name);

/** What index.html names: all else that stands in `assets` is fetched while the app rests, but for its worker; and
 * so is what keeps the files on the device. */
async function namedFirst() {
  const page = await readFile(path.join(DIST, "index.html"), "utf8");
  return (name) =>
    (!name.startsWith("assets/") && name !== "sw.js") ||
    page.includes(name) ||
    /assets\/worker-/.test(name);
}

/** Bytes after gzip by file; the shell is all that is needed before anything is shown and is neither SQLite (its WASM, and its own
 * script for it) nor the replica program, nor a font, nor what a damaged file needs. */
export async function sizes() {
  const files = {};
  const isFirst = await namedFirst();
  for (const name of await readdir(DIST, { recursive: true })) {
    if (LEFT_OUT.test(name) || !/\.(?:js|css|html|svg|webmanifest|wasm|woff2)$/.test(name))
      continue;
    const bytes = await readFile(path.join(DIST, name));
    files[name] = (await promisify(gzip)(bytes, { level: 9 })).length;
  }
  const sum = (isIn) =>
    Object.entries(files).reduce((all, [name, size]) => all + (isIn(name) ? size : 0), 0);
  const isOwn = (name) =>
    ![isSqlite, isProgram, isSalvage, isFont, isDecoder].some((isIt) => isIt(name));
  return {
    files,
    shell: sum((name) => isOwn(name) && isFirst(name)),
    screens: sum((name) => isOwn(name) && !isFirst(name)),
    program: sum(isProgram),
    salvage: sum(isSalvage),
    fonts: sum(isFont),
    sqliteScript: sum((name) => isSqlite(name) && !name.endsWith(".wasm")),
    sqliteWasm: sum((name) => isSqlite(name) && name.endsWith(".wasm")),
    decoder: sum(isDecoder),
  };
}
