/** What Python's compiler makes of a schema today. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import { HERE } from "./processes.js";

const made = new Map<string, ReplicaProgram>();

export function compiled(schema: unknown): ReplicaProgram {
  const text = JSON.stringify(schema);
  const program = made.get(text) ?? compile(text);
  made.set(text, program);
  return program;
}

function compile(schema: string): ReplicaProgram {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-program-"));
  try {
    writeFileSync(join(folder, "schema.json"), schema);
    const command = join(HERE, "..", "..", "..", ".venv", "bin", "holdfast");
    const text = execFileSync(command, ["program", join(folder, "schema.json")], {
      encoding: "utf8",
      maxBuffer: 2 ** 25,
    });
    return JSON.parse(text) as ReplicaProgram;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
