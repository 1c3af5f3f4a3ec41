/**
 * Gives the app the replica program of the schema that it is written for: a version of the app opens, and
 * migrates, what is stored with no connection, whatever the server has by then.
 *
 * Knows: how the engine's command compiles a schema. Must not know: what a program holds.
 */

import { execFileSync } from "node:child_process";
import path from "node:path";

import type { Plugin } from "vite";

const NAME = "virtual:replica-program";
const SCHEMA = "stockroom.schema:schema";
const PROGRAM_BYTES_MAX = 2 ** 25;

export function replicaProgram(root: string): Plugin {
  return {
    name: "stockroom-replica-program",
    resolveId: (id) => (id === NAME ? `\0${NAME}` : null),
    load(id) {
      if (id !== `\0${NAME}`) return null;
      const command = path.join(root, ".venv/bin/holdfast");
      const text = execFileSync(command, ["program", SCHEMA], {
        encoding: "utf8",
        maxBuffer: PROGRAM_BYTES_MAX,
      });
      // As a text it is read faster than as a script.
      const quoted = JSON.stringify(JSON.stringify(JSON.parse(text)));
      return `export default JSON.parse(${quoted});`;
    },
  };
}
