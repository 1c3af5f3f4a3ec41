/** Another version of the app in the place of the one that a server hands out. */

import { cp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";

import { expect } from "vitest";

import { BUILT, type Person, type World } from "./world.js";

const LOOK_MS = 5_000;
const PROGRAM = /-program-.*\.js$/;
const HASHED = /-([\w-]{8})\.js$/;

/**
 * As a deployment does: the files of another build take the place of the old ones, names and all.
 * `program`: the replica program that this version brings, where it is not that of the build.
 */
export async function deploy(
  world: World,
  version: string,
  program: string | null = null,
): Promise<void> {
  const folder = world.web ?? "";
  await rm(path.join(folder, "assets"), { recursive: true });
  await cp(BUILT, folder, { recursive: true, force: true });
  const assets = await readdir(path.join(folder, "assets"));
  // Parts name one another: a build that differs in one has other names for most.
  const scripts = assets.filter((name) => HASHED.test(name));
  expect(scripts.length).toBeGreaterThanOrEqual(3);
  const files = [...scripts.map((name) => `assets/${name}`), "index.html", "sw.js"];
  for (const file of files) {
    let text = await readFile(path.join(folder, file), "utf8");
    if (program !== null && PROGRAM.test(file))
      text = `export default JSON.parse(${JSON.stringify(program)});`;
    for (const name of scripts) text = text.replaceAll(name, renamed(name, version));
    if (file === "sw.js") text = text.replace(/const VERSION = "/, `const VERSION = "${version}`);
    if (file === "index.html")
      text = text.replace("</head>", `<meta name="deployed" content="${version}" /></head>`);
    await writeFile(path.join(folder, file), text);
  }
  for (const name of scripts)
    await rename(
      path.join(folder, "assets", name),
      path.join(folder, "assets", renamed(name, version)),
    );
}

const renamed = (name: string, version: string): string => name.replace(HASHED, `-${version}$1.js`);

/** The app has found the new version. It looks again each time that the browser is back online. */
export async function offered(person: Person): Promise<void> {
  const told = person.page.getByText("A new version is ready");
  for (let isShown = false; !isShown;) {
    await person.backOnline();
    isShown = await told.waitFor({ timeout: LOOK_MS }).then(
      () => true,
      () => false,
    );
  }
}

/** What is shown is of this deployment. */
export async function shows(person: Person, version: string): Promise<void> {
  await person.page
    .locator(`meta[name=deployed][content=${version}]`)
    .waitFor({ state: "attached" });
}
