/**
 * What a damaged file still holds goes on, waits for a person, or is listed: nothing else.
 *
 * The bytes are those of a real file, damaged as by a disk. The file that Python's tests damage is read by
 * the same steps: `engine/tests/unit/replica/test_salvage.py`.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { beforeAll, describe, expect, test } from "vitest";

import { HOST } from "../../src/replica/host.js";
import { Replica } from "../../src/replica/replica.js";
import { salvage, type Salvaged } from "../../src/replica/salvage/salvage.js";
import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import { openMemory } from "../../src/sqlite/open.js";
import { HERE } from "../support/processes.js";
import { compiled } from "../support/program.js";

const PAGE = 4096;
const NOTES = 160;
const WORK = "SELECT number, id, state FROM holdfast_tx ORDER BY number";
const CHANGES =
  "SELECT tx, key, was, now, base, o_text, o_n, n_text, n_n FROM holdfast_change_note ORDER BY tx, key";

/** Copies a file while it is open: all that was committed is in its log. */
const LIVE = `
import shutil, sys
from holdfast import Replica
from holdfast.schema.load import load_schema
path, copy = sys.argv[1] + "/live.db", sys.argv[1] + "/copy.db"
with Replica.open(path, load_schema(sys.argv[2] + "/note.json")) as replica:
    for number in range(31):
        with replica.transaction() as db:
            db.execute("INSERT INTO note (id, text, n) VALUES (?, ?, 1)", (f"n{number}", f"t{number}"))
    replica.seal()
    for ending in ("", "-wal"):
        shutil.copy(path + ending, copy + ending)
`;

const program = compiled(
  JSON.parse(readFileSync(join(HERE, "note.json"), "utf8")) as ReplicaProgram["schema"],
);
let busy: Uint8Array;
let work: Found;

interface Found {
  readonly transactions: unknown[][];
  readonly changes: unknown[][];
}

/** What the outbox of a sound file holds, sealed. */
async function workOf(image: Uint8Array): Promise<Found> {
  const opened = await openMemory(image.slice());
  try {
    const replica = Replica.open({ opened, program, transport: null });
    await replica.seal();
    const rows = (sql: string): unknown[][] => opened.connection.execute(sql) as unknown[][];
    return { transactions: rows(WORK), changes: rows(CHANGES) };
  } finally {
    opened.close();
  }
}

const salvaged = (file: Uint8Array, log = new Uint8Array()): Promise<Salvaged> =>
  salvage({ file, log }, program, HOST);

beforeAll(async () => {
  const opened = await openMemory();
  opened.connection.execute("PRAGMA secure_delete = 1");
  const replica = Replica.open({ opened, program, transport: null });
  for (let number = 0; number < NOTES; number += 1) {
    const id = `n${String(number).padStart(3, "0")}`;
    const params = [id, id + "x".repeat(80)];
    await replica.write([{ sql: "INSERT INTO note (id, text, n) VALUES (?, ?, 1)", params }]);
  }
  await replica.seal();
  await replica.write([{ sql: "UPDATE note SET n = n + 1 WHERE id < 'n020'" }]);
  await replica.write([{ sql: "DELETE FROM note WHERE id = 'n007'" }]);
  busy = await replica.export();
  opened.close();
  work = await workOf(busy);
});

/** A generator that gives the same numbers for a seed. */
function chance(seed: number): (below: number) => number {
  let state = seed * 2654435761 + 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function onPages(count: number, fill: (draw: (below: number) => number) => number) {
  return (data: Uint8Array, draw: (below: number) => number): Uint8Array => {
    for (let one = 0; one < count; one += 1) {
      const at = draw(data.length / PAGE) * PAGE;
      for (let place = at; place < at + PAGE; place += 1) data[place] = fill(draw);
    }
    return data;
  };
}

const DAMAGE = {
  overwritten: onPages(1, (draw) => draw(256)),
  zeroed: onPages(1, () => 0),
  "five pages": onPages(5, (draw) => draw(256)),
  "cut off": (data: Uint8Array, draw: (below: number) => number): Uint8Array =>
    data.slice(0, 1 + draw(data.length - 1)),
  "all zero": (data: Uint8Array): Uint8Array => new Uint8Array(data.length),
};

describe.each(Object.entries(DAMAGE))("%s", (_, damage) => {
  test.each([1, 2])("seed %i", async (seed) => {
    const made = await salvaged(damage(busy.slice(), chance(seed)));
    const found = await workOf(made.database);
    const goesOn = found.transactions.filter(
      ([, , state]) => state === "pending" || state === "sent",
    );
    const numbers = new Map(work.transactions.map(([number, id]) => [id, number]));
    for (const [number, id] of goesOn) {
      const before = numbers.get(id);
      const of = (all: unknown[][], one: unknown): unknown[][] =>
        all.filter(([tx]) => tx === one).map((row) => row.slice(1));
      const changes = of(found.changes, number);
      if (before !== undefined) expect(changes).toEqual(of(work.changes, before));
      // What was not sealed yet has another id where the file no longer says who it was.
      else expect(work.transactions.map(([one]) => of(work.changes, one))).toContainEqual(changes);
    }
    const { report } = made;
    expect(report.transactions).toBe(goesOn.length);
    expect(report.toInbox).toBe(found.transactions.length - goesOn.length);
    if (report.isOk) expect(goesOn.length).toBe(work.transactions.length);
    else if (found.transactions.length < work.transactions.length)
      expect(report.lost.length).toBeGreaterThan(0);
    expect(made.work.split("\n").length - 1).toBe(found.transactions.length);
  });
});

test.each([16, 100])("without the first %i bytes nothing is lost", async (count) => {
  const data = busy.slice();
  data.fill(0, 0, count);
  const made = await salvaged(data);
  expect(made.report).toMatchObject({ isOk: true, lost: [], transactions: NOTES + 2 });
  const found = await workOf(made.database);
  expect(found.changes).toEqual(work.changes);
  expect(found.transactions.map(([number, id]) => [number, id])).toEqual(
    work.transactions.map(([number, id]) => [number, id]),
  );
});

test("what is salvaged is shown, and goes on", async () => {
  const data = busy.slice();
  data.fill(0, 0, 100);
  const { database } = await salvaged(data);
  const opened = await openMemory(database);
  const replica = Replica.open({ opened, program, transport: null });
  const shown = await replica.query("SELECT n FROM note WHERE id IN ('n001', 'n007', 'n100')");
  expect(shown.rows).toEqual([[2], [1]]);
  await replica.write([{ sql: "UPDATE note SET n = n + 1 WHERE id = 'n001'" }]);
  const [event] = opened.connection.execute("SELECT kind, text FROM holdfast_event");
  expect(event?.[0]).toBe("salvaged");
  expect(event?.[1]).toContain(`${NOTES + 2} unsent transactions`);
  opened.close();
});

test("the log is read as well, and one damaged frame takes only its own page", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-live-"));
  try {
    // A browser's log cannot be read from outside; Python's is the same.
    execFileSync(join(HERE, "..", "..", "..", ".venv", "bin", "python"), [
      "-c",
      LIVE,
      folder,
      HERE,
    ]);
    const file = new Uint8Array(readFileSync(join(folder, "copy.db")));
    const log = new Uint8Array(readFileSync(join(folder, "copy.db-wal")));
    file.fill(0);
    const made = await salvaged(file, log);
    expect(made.report).toMatchObject({ isOk: true, transactions: 31 });
    const frame = 24 + PAGE;
    for (let at = 32 + 3 * frame; at + frame < log.length; at += 9 * frame)
      log.fill(0, at + 100, at + 200);
    const { report } = await salvaged(file, log);
    expect(report.transactions + report.toInbox).toBeLessThanOrEqual(31);
    if (report.transactions < 31) expect(report.toInbox + report.lost.length).toBeGreaterThan(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a file that says no schema needs a program", async () => {
  const zeros = { file: new Uint8Array(10 * PAGE), log: new Uint8Array() };
  await expect(salvage(zeros, null, HOST)).rejects.toMatchObject({ code: "schema_needed" });
});
