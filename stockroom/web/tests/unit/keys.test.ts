/** The words of the app: a key that does not exist cannot be said, and none stands there for nothing. */

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { expect, test, vi } from "vitest";

import first from "../../src/i18n/en.js";
import later from "../../src/i18n/enLater.js";
import { t, tOr } from "../../src/i18n/index.js";
import "../../src/i18n/later.js";

// The reader's language is the browser's, which Node does not have.
vi.hoisted(() => vi.stubGlobal("navigator", { language: "en" }));

/** Checked by `npm run check`: a line which compiles in spite of its mark is an error there. */
export function rejected(name: string): string[] {
  return [
    // @ts-expect-error A key is misspelt.
    t("receive.titel"),
    // @ts-expect-error What words are nested in says nothing.
    t("receive"),
    // @ts-expect-error A part of the key may be anything.
    t(`sync.tabs.${name}`),
    // @ts-expect-error A filling is missing.
    t("conflict.on", { user: name, device: name }),
    // @ts-expect-error A filling is misspelt.
    t("stock.store", { nane: name }),
    // @ts-expect-error Nothing is filled in there.
    t("receive.title", { name }),
    // @ts-expect-error How many is not said.
    t("stock.count"),
    // @ts-expect-error A form of a key is chosen by its count alone.
    t("stock.count_one", { count: 1 }),
    // @ts-expect-error The group does not exist.
    tOr("sync.table", name, "sync.tables.other"),
    // @ts-expect-error What is said instead does not exist.
    tOr("sync.tables", name, "sync.tables.others"),
  ];
}

type Tree = { readonly [name: string]: string | Tree };

const leaves = (tree: Tree, before = ""): string[] =>
  Object.entries(tree).flatMap(([name, below]) =>
    typeof below === "string" ? [before + name] : leaves(below, `${before}${name}.`),
  );

const SOURCES = path.resolve(import.meta.dirname, "../../src");
const sources = readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(ts|svelte)$/.test(name) && !/i18n\/(?:en|keys)\w*\.ts$/.test(name))
  .map((name) => ({ name, text: readFileSync(path.join(SOURCES, name), "utf8") }));
const source = sources.map(({ text }) => text).join("\n");
const en = { ...first, ...later };
const all = (pattern: RegExp): Set<string> =>
  new Set([...source.matchAll(pattern)].map(([, found = ""]) => found));

test("every word is said somewhere", () => {
  const whole = all(/["']([\w.]+)["']/g);
  // Below these the last part is only known when it runs.
  const groups = new Set([...all(/`([\w.]+)\.\$\{[^}]+\}`/g), ...all(/tOr\(\s*"([\w.]+)"/g)]);
  const unsaid = leaves(en)
    .map((key) => key.replace(/_(one|other)$/, ""))
    .filter((key) => !whole.has(key) && !groups.has(key.replace(/\.\w+$/, "")));
  expect(unsaid).toEqual([]);
});

test("a counted key has both its forms, filled alike but for the count", () => {
  const keys = new Set(leaves(en));
  const bases = [...keys].filter((key) => /_(one|other)$/.test(key));
  for (const key of bases)
    for (const form of ["_one", "_other"]) expect(keys).toContain(key.replace(/_\w+?$/, form));
});

test("words are filled, counted, and those of another key where there are none", () => {
  expect(t("people.invitation", { name: "Mile End" })).toBe("Invitation for Mile End");
  expect(t("receive.go", { count: 1 })).toBe("Receive 1 unit");
  expect(t("receive.go", { count: 1200 })).toBe("Receive 1,200 units");
  expect(tOr("sync.tables", "movement", "sync.tables.other")).toBe("Movement");
  expect(tOr("sync.tables", "unheard_of", "sync.tables.other")).toBe("Change");
});

test("whoever says a word that is fetched later fetches it", () => {
  const said = new RegExp(`["'\`](?:${Object.keys(later).join("|")})\\.[a-zA-Z$]`);
  const careless = sources.filter(({ text }) => said.test(text) && !text.includes("i18n/later.js"));
  expect(careless.map(({ name }) => name)).toEqual([]);
  expect(Object.keys(first).filter((group) => group in later)).toEqual([]);
});
