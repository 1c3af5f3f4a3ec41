import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { POLICIES } from "../../src/core/merging/policies.js";
import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import { compiled } from "../support/program.js";
import { ANSWERS, differing, type VectorFile } from "./answers.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const FOLDER = join(ROOT, "protocol", "vectors");
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

function read(name: string): VectorFile {
  return JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as VectorFile;
}

describe("golden vectors", () => {
  const programOf = (name: string): ReplicaProgram =>
    compiled((read(name).cases[0]?.in as { schema: unknown }).schema);
  /** What a case of whole replicas has, the first one of a file. */
  const inOf = (name: string): { schema: unknown; later: Record<string, unknown> } => {
    const all = read(name).cases.map((one) => one.in as Record<string, unknown>);
    return all.find((one) => "later" in one) as never;
  };
  const program = programOf("replica.json");
  const own: Record<string, ReplicaProgram> = {
    "groups.json": programOf("groups.json"),
    "sets.json": programOf("sets.json"),
    "migrations.json": compiled(inOf("migrations.json").schema),
  };
  const later = Object.fromEntries(
    Object.entries(inOf("migrations.json").later).map(([name, one]) => [name, compiled(one)]),
  );

  test("every file has an answer, and every answer a file", () => {
    expect(FILES.map((name) => name.slice(0, -5)).sort()).toEqual(Object.keys(ANSWERS).sort());
  });

  test.each(FILES)("%s", async (name) => {
    const file = read(name);
    expect(file.cases.length).toBeGreaterThanOrEqual(10);
    expect(
      await differing(
        name.slice(0, -5),
        file,
        own[name] ?? program,
        name === "migrations.json" ? later : {},
      ),
    ).toEqual([]);
  });

  test("every policy has its vectors", () => {
    const told = read("policies.json").cases.map(
      ({ in: given }) => (given as { policy: string }).policy,
    );
    expect([...new Set(told)].sort()).toEqual(Object.keys(POLICIES).sort());
  });
});
