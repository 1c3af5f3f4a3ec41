import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import type { ReplicaProgram } from "../../src/replica/program.js";
import { ANSWERS, differing, type VectorFile } from "./answers.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const FOLDER = join(ROOT, "protocol", "vectors");
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

function read(name: string): VectorFile {
  return JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as VectorFile;
}

/** What Python's compiler makes of a schema today. */
function compiled(schema: unknown): ReplicaProgram {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-program-"));
  try {
    writeFileSync(join(folder, "schema.json"), JSON.stringify(schema));
    const command = join(ROOT, ".venv", "bin", "holdfast");
    const text = execFileSync(command, ["program", join(folder, "schema.json")], {
      encoding: "utf8",
      maxBuffer: 2 ** 25,
    });
    return JSON.parse(text) as ReplicaProgram;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("golden vectors", () => {
  const program = compiled((read("replica.json").cases[0]?.in as { schema: unknown }).schema);

  test("every file has an answer, and every answer a file", () => {
    expect(FILES.map((name) => name.slice(0, -5)).sort()).toEqual(Object.keys(ANSWERS).sort());
  });

  test.each(FILES)("%s", async (name) => {
    const file = read(name);
    expect(file.cases.length).toBeGreaterThanOrEqual(10);
    expect(await differing(name.slice(0, -5), file, program)).toEqual([]);
  });
});
