import { beforeAll, describe, expect, test } from "vitest";

import { Digest, rowHash } from "../../src/core/digest.js";
import { toHex } from "../../src/core/values.js";
import type { Gone, Head, Position, Rows } from "../../src/protocol/messages.generated.js";
import { type Applied, Applier } from "../../src/replica/apply.js";
import { LocalDatabase } from "../../src/replica/database.js";
import { HOST } from "../../src/replica/host.js";
import { attach, detach } from "../../src/replica/load.js";
import type { ReplicaProgram } from "../../src/replica/program.js";
import type { SnapshotFile } from "../../src/replica/snapshot.js";
import { openMemory, type Opened } from "../../src/sqlite/open.js";
import { compiled } from "../support/program.js";

/** id, its two scopes, and a value that no two rows have. */
type Code = readonly [id: string, left: string, right: string, code: string];
interface Truth {
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
  ],
};
const KEYS: Readonly<Record<string, Uint8Array>> = {
  "left/1": new Uint8Array(32).fill(1),
  "left/2": new Uint8Array(32).fill(2),
  "right/1": new Uint8Array(32).fill(3),
};
let program: ReplicaProgram;

beforeAll(() => {
  program = compiled(SCHEMA);
});

function hash(scope: string, row: Code): Uint8Array {
  return rowHash(KEYS[scope] ?? new Uint8Array(), "code", row[0], row);
}

function position(scope: string, rows: readonly Code[], version = 1): Position {
  const { count, hex } = new Digest().replace(
    [],
    rows.map((row) => hash(scope, row)),
  );
  return { version, count, digest: hex, seal: "s" };
}

/** Put a file of a scope into the keep. */
async function snapshot(
  to: Opened,
  scope: string,
  truths: readonly Truth[],
): Promise<SnapshotFile> {
  const { connection, close } = await openMemory();
  for (const { name, columns } of [...program.schema.tables, ...program.engine_tables])
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

async function apply(
  database: LocalDatabase,
  opened: Opened,
  files: readonly SnapshotFile[],
  lines: readonly Truth[],
  reached: Readonly<Record<string, readonly Code[]>>,
  filed: readonly (Rows | Gone)[] = [],
  told: number[] = [],
): Promise<Applied> {
  const head: Head = {
    ...{ type: "head", protocol: 1, epoch: "e", device: "d", user: "u", echo: "", time: 0 },
    schema: "",
    scopes: Object.fromEntries(
      Object.keys(reached).map((scope) => [
        scope,
        { key: toHex(KEYS[scope] ?? new Uint8Array()), write: true },
      ]),
    ),
  };
  const scopes = Object.fromEntries(
    Object.entries(reached).map(([scope, rows]) => [scope, position(scope, rows, 2)]),
  );
  const news: Rows[] =
    lines.length === 0
      ? []
      : [{ type: "rows", table: "code", rows: lines.map(({ rev, row }) => [rev, ...row]) }];
  const attached = attach(opened.connection, opened.keep, files);
  const done = await database.syncSteps(
    () =>
      new Applier(database, HOST).apply(
        head,
        news,
        { type: "checkpoint", scopes, lines: 2 },
        attached,
        filed,
      ),
    (rows) => {
      told.push(rows);
      return Promise.resolve();
    },
  );
  detach(opened.connection, attached);
  return done;
}

async function device(): Promise<readonly [LocalDatabase, Opened]> {
  const opened = await openMemory();
  const database = new LocalDatabase(opened.connection, program);
  opened.connection.execute("PRAGMA foreign_keys = 0");
  return [database, opened];
}

describe("importing files", () => {
  test("a row that made room for a stale one comes back", async () => {
    const taker: Truth = { rev: 1, row: ["p", "1", "9", "u"] };
    const giver: Truth = { rev: 1, row: ["x", "2", "9", "u"] }; // it gave its code up before p took it
    const later: Truth = { rev: 2, row: ["x", "2", "9", "v"] };
    for (const turned of [false, true]) {
      const [database, opened] = await device();
      const files = [
        await snapshot(opened, "left/1", [taker]),
        await snapshot(opened, "left/2", [giver]),
      ];
      const reached = { "left/1": [taker.row], "left/2": [later.row] };
      const order = turned ? files.toReversed() : files;
      expect((await apply(database, opened, order, [later], reached)).differing).toEqual([]);
      expect(opened.connection.execute("SELECT * FROM code ORDER BY id")).toEqual([
        taker.row,
        later.row,
      ]);
      opened.close();
    }
  });

  test("a row of the same revision joins the scope, one of a higher stays as it is, one of a lower is renewed", async () => {
    const [database, opened] = await device();
    const same: Truth = { rev: 4, row: ["same", "1", "1", "a"] };
    const newer: Truth = { rev: 9, row: ["newer", "1", "1", "b"] };
    const older: Truth = { rev: 2, row: ["older", "1", "1", "c"] };
    const first = [same, newer, older];
    const rows = first.map((truth) => truth.row);
    await apply(database, opened, [], first, { "left/1": rows });
    const stale: Truth = { rev: 8, row: ["newer", "1", "1", "stale"] };
    const renewed: Truth = { rev: 3, row: ["older", "1", "1", "d"] };
    const file = await snapshot(opened, "right/1", [same, stale, renewed]);
    const now = [same.row, newer.row, renewed.row];
    // The answer begins at the file's moment, and so it has the row of which the file is behind.
    const applied = await apply(database, opened, [file], [newer], {
      "left/1": now,
      "right/1": now,
    });
    expect(applied.differing).toEqual([]);
    expect(new Set(opened.connection.execute("SELECT * FROM code"))).toEqual(new Set(now));
    expect(opened.connection.execute("SELECT key, rev FROM holdfast_row ORDER BY key")).toEqual([
      ["newer", 9n],
      ["older", 3n],
      ["same", 4n],
    ]);
    opened.close();
  });

  test("each row of a file is counted once, however it comes in", async () => {
    const [database, opened] = await device();
    const same: Truth = { rev: 4, row: ["same", "1", "1", "a"] };
    const newer: Truth = { rev: 9, row: ["newer", "1", "1", "b"] };
    const older: Truth = { rev: 2, row: ["older", "1", "1", "c"] };
    const first = [same, newer, older];
    await apply(database, opened, [], first, { "left/1": first.map(({ row }) => row) });
    const stale: Truth = { rev: 8, row: ["newer", "1", "1", "stale"] };
    const renewed: Truth = { rev: 3, row: ["older", "1", "1", "d"] };
    const taker: Truth = { rev: 1, row: ["taker", "1", "1", "c"] };
    const fresh = ["f1", "f2", "f3"].map((id): Truth => ({ rev: 1, row: [id, "1", "1", id] }));
    const file = await snapshot(opened, "left/1", [same, stale, renewed, taker, ...fresh]);
    const kept: Code = ["y", "1", "1", "y"];
    const filed = [
      {
        type: "rows",
        table: "code",
        rows: [
          [1, "x", "1", "1", "x"],
          [1, ...kept],
        ],
      },
      { type: "gone", table: "code", keys: ["x"] },
    ] satisfies (Rows | Gone)[];
    const now = [same, newer, renewed, taker, ...fresh].map(({ row }) => row);
    const told: number[] = [];
    const reached = { "left/1": [...now, kept] };
    const { differing } = await apply(database, opened, [file], [newer], reached, filed, told);
    expect(differing).toEqual([]);
    expect(told).toEqual(told.toSorted((one, other) => one - other));
    expect(new Set(told).size).toBeGreaterThan(2);
    expect(told.at(-1)).toBe(file.rows + 3);
    opened.close();
  });

  test("a higher revision is not overwritten, whatever the answer has", async () => {
    const [database, opened] = await device();
    const newer: Truth = { rev: 9, row: ["newer", "1", "1", "b"] };
    await apply(database, opened, [], [newer], { "left/1": [newer.row] });
    const stale: Truth = { rev: 8, row: ["newer", "1", "1", "stale"] };
    const file = await snapshot(opened, "right/1", [stale]);
    const reached = { "left/1": [newer.row], "right/1": [newer.row] };
    const applied = await apply(database, opened, [file], [], reached);
    expect(opened.connection.execute("SELECT * FROM code")).toEqual([newer.row]);
    expect(applied.differing).toEqual(["right/1"]); // and so it is found
    opened.close();
  });
});
