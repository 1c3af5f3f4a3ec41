/** A replica of one table whose rows are in two scopes and have a unique value, and answers for it. */

import { Digest, rowHash } from "../../src/core/digest.js";
import { toHex } from "../../src/core/values.js";
import type {
  Gone,
  Head,
  Outcome,
  Own,
  Position,
  Rows,
} from "../../src/protocol/messages.generated.js";
import { type Applied, Applier } from "../../src/replica/rebase/apply.js";
import { LocalDatabase } from "../../src/replica/storage/database.js";
import { HOST } from "../../src/replica/host.js";
import { attach, detach } from "../../src/replica/load/importFiles.js";
import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import type { SnapshotFile } from "../../src/replica/load/snapshotFile.js";
import { openMemory, type Opened } from "../../src/sqlite/open.js";
import { compiled } from "./program.js";

/** id, its two scopes, and a value that no two rows have. */
export type Code = readonly [id: string, left: string, right: string, code: string];
export interface Truth {
  readonly rev: number;
  readonly row: Code;
}

const SCHEMA = {
  name: "codes",
  generation: 1,
  tables: [
    {
      name: "code",
      key: ["id"],
      columns: [{ name: "id" }, { name: "left" }, { name: "right" }, { name: "code" }],
      scopes: ["left/{left}", "right/{right}"],
      unique: [["code"]],
      existence_public: true,
    },
    {
      name: "counted",
      key: ["n"],
      columns: [{ name: "n", type: "integer" }],
      scopes: ["left/1"],
    },
  ],
};
const KEYS: Readonly<Record<string, Uint8Array>> = {
  "left/1": new Uint8Array(32).fill(1),
  "left/2": new Uint8Array(32).fill(2),
  "right/1": new Uint8Array(32).fill(3),
};

let known: ReplicaProgram | null = null;

function program(): ReplicaProgram {
  known ??= compiled(SCHEMA);
  return known;
}

export function hash(scope: string, row: Code): Uint8Array {
  return rowHash(KEYS[scope] ?? new Uint8Array(), "code", row[0], row);
}

export function position(scope: string, rows: readonly Code[], version = 1): Position {
  const { count, hex } = new Digest().replace(
    [],
    rows.map((row) => hash(scope, row)),
  );
  return { version, count, digest: hex, seal: "s" };
}

/** Put a file of a scope into the keep. */
export async function snapshot(
  to: Opened,
  scope: string,
  truths: readonly Truth[],
): Promise<SnapshotFile> {
  const { connection, close } = await openMemory();
  for (const { name, columns } of [...program().schema.tables, ...program().engine_tables])
    connection.script(
      `CREATE TABLE "${name}" (holdfast_key, holdfast_rev, holdfast_hash` +
        columns.map((column) => `, "${column.name}"`).join("") +
        ")",
    );
  for (const { rev, row } of truths)
    connection.execute("INSERT INTO code VALUES (?, ?, ?, ?, ?, ?, ?)", [
      row[0],
      BigInt(rev),
      hash(scope, row),
      ...row,
    ]);
  const name = `${scope.replace("/", "-")}.snapshot`;
  const image = connection.serialize();
  close();
  await to.keep.makeDatabase(
    name,
    (async function* () {
      yield await Promise.resolve(image);
    })(),
  );
  const rows = truths.map((truth) => truth.row);
  return { name, scope, position: position(scope, rows), rows: rows.length };
}

export function rows(...truths: readonly Truth[]): Rows {
  return { type: "rows", table: "code", rows: truths.map(({ rev, row }) => [rev, ...row]) };
}

/** An answer as a server may give it, and what else differs from the usual one. */
export interface Given {
  readonly files?: readonly SnapshotFile[];
  readonly filed?: readonly (Rows | Gone)[];
  readonly lines?: readonly (Rows | Own | Gone)[];
  readonly outcomes?: readonly Outcome[];
  /** By scope: the rows that it has afterwards. */
  readonly reached: Readonly<Record<string, readonly Code[]>>;
  /** The scopes of the checkpoint, where they are others than those of the head. */
  readonly checkpoint?: readonly string[];
}

/** What it did, and how many rows were in after each step. */
export interface Done extends Applied {
  readonly steps: readonly number[];
}

export async function apply(
  database: LocalDatabase,
  opened: Opened,
  { files = [], filed = [], lines = [], outcomes = [], reached, checkpoint }: Given,
): Promise<Done> {
  const head: Head = {
    ...{ type: "head", protocol: 1, epoch: "e", device: "d", user: "u", echo: "", time: 0 },
    schema: "",
    outcomes,
    scopes: Object.fromEntries(
      Object.keys(reached).map((scope) => [
        scope,
        { key: toHex(KEYS[scope] ?? new Uint8Array()), write: true },
      ]),
    ),
  };
  const scopes = Object.fromEntries(
    (checkpoint ?? Object.keys(reached)).map((scope) => [
      scope,
      position(scope, reached[scope] ?? [], 2),
    ]),
  );
  const attached = attach(opened.connection, opened.keep, files);
  const steps: number[] = [];
  try {
    const done = await database.syncSteps(
      () =>
        new Applier(database, HOST).apply(
          head,
          lines,
          { type: "checkpoint", scopes, lines: 2 },
          attached,
          filed,
        ),
      (step) => Promise.resolve(void steps.push(step)),
    );
    return { ...done, steps };
  } finally {
    detach(opened.connection, attached);
  }
}

export async function device(): Promise<readonly [LocalDatabase, Opened]> {
  const opened = await openMemory();
  const database = LocalDatabase.open(opened.connection, program(), () => undefined);
  opened.connection.execute("PRAGMA foreign_keys = 0");
  return [database, opened];
}
