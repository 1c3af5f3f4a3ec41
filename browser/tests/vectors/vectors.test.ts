import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { ANSWERS, differing, type VectorFile } from "./answers.js";

const FOLDER = fileURLToPath(new URL("../../../protocol/vectors/", import.meta.url));
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

describe("golden vectors", () => {
  test("every file has an answer, and every answer a file", () => {
    expect(FILES.map((name) => name.slice(0, -5)).sort()).toEqual(Object.keys(ANSWERS).sort());
  });

  test.each(FILES)("%s", (name) => {
    const file = JSON.parse(readFileSync(FOLDER + name, "utf8")) as VectorFile;
    expect(file.cases.length).toBeGreaterThan(10);
    expect(differing(name.slice(0, -5), file)).toEqual([]);
  });
});
