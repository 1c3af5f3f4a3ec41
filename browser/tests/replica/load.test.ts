/**
 * Importing files and applying answers: what is newer stands, and what was written here stays on top.
 *
 * Checks I14.
 */

import { describe, expect, test } from "vitest";

import { FileRefused } from "../../src/core/errors.js";
import { attach } from "../../src/replica/load/importFiles.js";
import type { SnapshotFile } from "../../src/replica/load/snapshotFile.js";
import type { FileStore } from "../../src/sqlite/fileStore.js";
import { apply, device, rows, snapshot, type Truth } from "../support/codes.js";

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
      expect(
        (await apply(database, opened, { files: order, lines: [rows(later)], reached })).differing,
      ).toEqual([]);
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
    await apply(database, opened, {
      lines: [rows(...first)],
      reached: { "left/1": first.map((truth) => truth.row) },
    });
    const stale: Truth = { rev: 8, row: ["newer", "1", "1", "stale"] };
    const renewed: Truth = { rev: 3, row: ["older", "1", "1", "d"] };
    const file = await snapshot(opened, "right/1", [same, stale, renewed]);
    const now = [same.row, newer.row, renewed.row];
    // The answer begins at the file's moment, and so it has the row of which the file is behind.
    const applied = await apply(database, opened, {
      files: [file],
      lines: [rows(newer)],
      reached: { "left/1": now, "right/1": now },
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
    await apply(database, opened, {
      lines: [rows(...first)],
      reached: { "left/1": first.map(({ row }) => row) },
    });
    const stale: Truth = { rev: 8, row: ["newer", "1", "1", "stale"] };
    const renewed: Truth = { rev: 3, row: ["older", "1", "1", "d"] };
    const taker: Truth = { rev: 1, row: ["taker", "1", "1", "c"] };
    const fresh = ["f1", "f2", "f3"].map((id): Truth => ({ rev: 1, row: [id, "1", "1", id] }));
    const file = await snapshot(opened, "left/1", [same, stale, renewed, taker, ...fresh]);
    const passing: Truth = { rev: 1, row: ["x", "1", "1", "x"] };
    const kept: Truth = { rev: 1, row: ["y", "1", "1", "y"] };
    const now = [same, newer, renewed, taker, ...fresh, kept].map(({ row }) => row);
    const { differing, steps } = await apply(database, opened, {
      files: [file],
      filed: [rows(passing, kept), { type: "gone", table: "code", keys: ["x"] }],
      lines: [rows(newer)],
      reached: { "left/1": now },
    });
    expect(differing).toEqual([]);
    expect(steps).toEqual(steps.toSorted((one, other) => one - other));
    expect(new Set(steps).size).toBeGreaterThan(2);
    expect(steps.at(-1)).toBe(file.rows + 3);
    opened.close();
  });

  test("a higher revision is not overwritten, whatever the answer has", async () => {
    const [database, opened] = await device();
    const newer: Truth = { rev: 9, row: ["newer", "1", "1", "b"] };
    await apply(database, opened, { lines: [rows(newer)], reached: { "left/1": [newer.row] } });
    const stale: Truth = { rev: 8, row: ["newer", "1", "1", "stale"] };
    const file = await snapshot(opened, "right/1", [stale]);
    const reached = { "left/1": [newer.row], "right/1": [newer.row] };
    const applied = await apply(database, opened, { files: [file], reached });
    expect(opened.connection.execute("SELECT * FROM code")).toEqual([newer.row]);
    expect(applied.differing).toEqual(["right/1"]); // and so it is found
    opened.close();
  });

  test("members that the file does not have leave, and go when they are in no other scope", async () => {
    const [database, opened] = await device();
    const gone: Truth = { rev: 1, row: ["gone", "1", "9", "a"] };
    const moved: Truth = { rev: 1, row: ["moved", "1", "1", "b"] };
    const stays: Truth = { rev: 1, row: ["stays", "1", "1", "c"] };
    const too: Truth = { rev: 1, row: ["too", "1", "9", "d"] };
    const before = [gone.row, too.row, moved.row, stays.row];
    await apply(database, opened, {
      lines: [rows(gone, too, moved, stays)],
      reached: { "left/1": before, "right/1": [moved.row, stays.row] },
    });
    // The file is of a moment at which one was removed, and the other one had another left side. What
    // took its value from the one that was removed is no stranger to it.
    const heir: Truth = { rev: 2, row: ["heir", "1", "9", "a"] };
    const file = await snapshot(opened, "left/1", [stays, heir]);
    const later: Truth = { rev: 2, row: ["moved", "9", "1", "b"] };
    const applied = await apply(database, opened, {
      files: [file],
      lines: [rows(later)],
      reached: { "left/1": [stays.row, heir.row], "right/1": [later.row, stays.row] },
    });
    expect(applied).toMatchObject({ differing: [], removed: 2 });
    expect(new Set(opened.connection.execute("SELECT * FROM code"))).toEqual(
      new Set([later.row, stays.row, heir.row]),
    );
    expect(opened.connection.execute("SELECT key FROM holdfast_row ORDER BY key")).toEqual([
      ["heir"],
      ["moved"],
      ["stays"],
    ]);
    opened.close();
  });

  test("a row that is shown, and of which nothing is known any more, is written again", async () => {
    const [database, opened] = await device();
    const lost: Truth = { rev: 4, row: ["lost", "1", "9", "a"] };
    await apply(database, opened, { lines: [rows(lost)], reached: { "left/1": [lost.row] } });
    for (const table of ["row", "member"])
      opened.connection.execute(`DELETE FROM holdfast_${table}`);
    opened.connection.execute("UPDATE holdfast_scope SET count = 0, digest = ?", ["0".repeat(32)]);
    const renewed: Truth = { rev: 5, row: ["lost", "1", "9", "b"] };
    const applied = await apply(database, opened, {
      files: [await snapshot(opened, "left/1", [renewed])],
      reached: { "left/1": [renewed.row] },
    });
    expect(applied.differing).toEqual([]);
    expect(opened.connection.execute("SELECT * FROM code")).toEqual([renewed.row]);
    opened.close();
  });

  test("all rows of a file are counted, however they are taken in, and it is told while they come", async () => {
    const [database, opened] = await device();
    const known: Truth = { rev: 1, row: ["known", "1", "1", "a"] };
    const files = async (): Promise<SnapshotFile[]> => [
      await snapshot(opened, "left/1", [
        { rev: 2, row: ["known", "1", "1", "b"] },
        { rev: 1, row: ["fresh", "1", "1", "c"] },
      ]),
    ];
    const now = [
      ["known", "1", "1", "b"],
      ["fresh", "1", "1", "c"],
    ] as const;
    await apply(database, opened, { lines: [rows(known)], reached: { "left/1": [known.row] } });
    const applied = await apply(database, opened, {
      files: await files(),
      reached: { "left/1": now },
    });
    expect(applied).toMatchObject({ rows: 2, differing: [] });
    expect(applied.steps.at(-1)).toBe(2);
    opened.close();
  });

  test("a file of a scope that was taken away meanwhile is left alone", async () => {
    const [database, opened] = await device();
    const row: Truth = { rev: 1, row: ["a", "1", "1", "a"] };
    const file = await snapshot(opened, "left/1", [row]);
    const applied = await apply(database, opened, { files: [file], reached: { "left/2": [] } });
    expect(applied).toMatchObject({ rows: 0, differing: [] });
    expect(opened.connection.execute("SELECT * FROM code")).toEqual([]);
    opened.close();
  });

  test("a file or a line of one that does not fit the tables is its own fault", async () => {
    const [database, opened] = await device();
    const twice: Truth[] = [
      { rev: 1, row: ["a", "1", "1", "same"] },
      { rev: 1, row: ["b", "1", "1", "same"] },
    ];
    const reached = { "left/1": twice.map(({ row }) => row) };
    const files = [await snapshot(opened, "left/1", twice)];
    await expect(apply(database, opened, { files, reached })).rejects.toBeInstanceOf(FileRefused);
    for (const line of [
      { type: "gone", table: "nowhere", keys: ["a"] },
      { type: "rows", table: "code", rows: [[1, "a", "1", "1", null]] },
    ] as const)
      await expect(apply(database, opened, { filed: [line], reached })).rejects.toBeInstanceOf(
        FileRefused,
      );
    // Nothing of it is there, and the next attempt finds nothing in its way.
    expect(opened.connection.execute("SELECT * FROM code")).toEqual([]);
    const first = [await snapshot(opened, "left/1", twice.slice(0, 1))];
    const one = { "left/1": reached["left/1"].slice(0, 1) };
    expect((await apply(database, opened, { files: first, reached: one })).differing).toEqual([]);
    opened.close();
  });

  test("what an answer has is newer than the lines of files", async () => {
    const [database, opened] = await device();
    const [old, now]: Truth[] = [
      { rev: 1, row: ["a", "1", "1", "old"] },
      { rev: 2, row: ["a", "1", "1", "now"] },
    ] as const satisfies Truth[];
    const applied = await apply(database, opened, {
      filed: [rows(old)],
      lines: [rows(now)],
      reached: { "left/1": [now.row] },
    });
    expect(applied.differing).toEqual([]);
    expect(opened.connection.execute("SELECT * FROM code")).toEqual([now.row]);
    opened.close();
  });

  test("a file that cannot be attached leaves none attached", async () => {
    const [, opened] = await device();
    const file = await snapshot(opened, "left/1", []);
    const missing: FileStore = {
      ...opened.keep,
      attach: (to, name, alias) => {
        if (name === "missing") throw new Error("it is not there");
        opened.keep.attach(to, name, alias);
      },
    };
    const both = [file, { ...file, name: "missing" }];
    expect(() => attach(opened.connection, missing, both)).toThrow("not there");
    expect(opened.connection.execute("SELECT name FROM pragma_database_list")).toEqual([["main"]]);
    opened.close();
  });
});

describe("applying answers", () => {
  test("a checkpoint of other scopes than the head's is no answer", async () => {
    const [database, opened] = await device();
    for (const checkpoint of [[], ["left/1", "left/2"], ["left/2"]])
      await expect(
        apply(database, opened, { reached: { "left/1": [] }, checkpoint }),
      ).rejects.toMatchObject({ code: "broken_answer" });
    opened.close();
  });

  test("a row that comes twice, or again after its own, counts once, as it was last", async () => {
    const [database, opened] = await device();
    const first: Truth = { rev: 1, row: ["a", "1", "1", "first"] };
    const last: Truth = { rev: 2, row: ["a", "1", "1", "last"] };
    for (const lines of [
      [rows(first, last)],
      [rows(first), rows(last)],
      [rows(first), { type: "own", table: "code", keys: ["a"], revs: [1] } as const, rows(last)],
    ]) {
      const applied = await apply(database, opened, { lines, reached: { "left/1": [last.row] } });
      expect(applied.differing).toEqual([]);
      expect(opened.connection.execute("SELECT * FROM code")).toEqual([last.row]);
      const gone = [{ type: "gone", table: "code", keys: ["a"] } as const];
      await apply(database, opened, { lines: gone, reached: { "left/1": [] } });
    }
    opened.close();
  });

  test("own rows need their revisions, and keys have to be readable", async () => {
    const [database, opened] = await device();
    const reached = { "left/1": [] };
    for (const line of [
      { type: "own", table: "code", keys: ["a"], revs: [] },
      { type: "gone", table: "counted", keys: ["a"] },
    ] as const)
      await expect(apply(database, opened, { lines: [line], reached })).rejects.toMatchObject({
        code: "broken_answer",
      });
    opened.close();
  });

  test("outcomes of transactions that are not ours are ignored, and each counts once", async () => {
    const [database, opened] = await device();
    opened.connection.execute("INSERT INTO code VALUES ('mine', '1', '1', 'a')");
    const reached = { "left/1": [["mine", "1", "1", "a"]] } as const;
    await apply(database, opened, { reached: { "left/1": [] } }); // seals it
    const [[number, id] = []] = opened.connection.execute("SELECT number, id FROM holdfast_tx");
    const ours = { number: Number(number), id: String(id), outcome: "applied" } as const;
    const others = [{ ...ours, id: "f".repeat(32) }];
    expect(
      await apply(database, opened, { outcomes: others, reached: { "left/1": [] } }),
    ).toMatchObject({ applied: 0 });
    const lines = [{ type: "own", table: "code", keys: ["mine"], revs: [1] } as const];
    const applied = await apply(database, opened, { outcomes: [ours, ours], lines, reached });
    expect(applied).toMatchObject({ applied: 1, differing: [] });
    expect(opened.connection.execute("SELECT count(*) FROM holdfast_tx")).toEqual([[0n]]);
    opened.close();
  });

  test("a row of ours that had to make room comes back when there is room, also over a file", async () => {
    const [database, opened] = await device();
    const shown = (): unknown => opened.connection.execute("SELECT * FROM code ORDER BY id");
    const mine = ["mine", "1", "1", "a"] as const;
    opened.connection.execute("INSERT INTO code VALUES (?, ?, ?, ?)", mine);
    const taker: Truth = { rev: 1, row: ["x", "1", "9", "a"] };
    const reached = { "left/1": [taker.row] };
    await apply(database, opened, { lines: [rows(taker)], reached });
    expect(shown()).toEqual([taker.row]);
    const gone = [{ type: "gone", table: "code", keys: ["x"] } as const];
    await apply(database, opened, { lines: gone, reached: { "left/1": [] } });
    expect(shown()).toEqual([mine]);
    // Held again, while a file has a row of its name: what is ours stands on that, and keeps it in mind.
    await apply(database, opened, { lines: [rows({ ...taker, rev: 2 })], reached });
    const theirs: Truth = { rev: 1, row: ["mine", "2", "2", "b"] };
    const file = await snapshot(opened, "left/2", [theirs]);
    const both = { "left/1": [taker.row], "left/2": [theirs.row] };
    const applied = await apply(database, opened, { files: [file], reached: both });
    expect(applied.differing).toEqual([]);
    expect(opened.connection.execute("SELECT key FROM holdfast_shadow_code")).toEqual([["mine"]]);
    opened.close();
  });

  test("what was kept beside a row of ours goes when the row is the server's", async () => {
    const [database, opened] = await device();
    const first: Truth = { rev: 1, row: ["a", "1", "1", "first"] };
    const second: Truth = { rev: 2, row: ["a", "1", "9", "first"] };
    const made = ["a", "1", "9", "ours"] as const;
    const shadows = (): unknown =>
      opened.connection.execute("SELECT key FROM holdfast_shadow_code");
    await apply(database, opened, { lines: [rows(first)], reached: { "left/1": [first.row] } });
    opened.connection.execute("UPDATE code SET code = 'ours'");
    await apply(database, opened, { lines: [rows(second)], reached: { "left/1": [second.row] } });
    expect(shadows()).toEqual([["a"]]);
    const [[number, id] = []] = opened.connection.execute("SELECT number, id FROM holdfast_tx");
    const outcomes = [{ number: Number(number), id: String(id), outcome: "applied" } as const];
    const lines = [{ type: "own", table: "code", keys: ["a"], revs: [3] } as const];
    const reached = { "left/1": [made] };
    expect((await apply(database, opened, { outcomes, lines, reached })).differing).toEqual([]);
    expect(shadows()).toEqual([]);
    opened.close();
  });

  test("a scope that is lost takes its rows and their revisions along", async () => {
    const [database, opened] = await device();
    const only: Truth = { rev: 1, row: ["only", "1", "9", "a"] };
    const both: Truth = { rev: 1, row: ["both", "1", "1", "b"] };
    await apply(database, opened, {
      lines: [rows(only, both)],
      reached: { "left/1": [only.row, both.row], "right/1": [both.row] },
    });
    const applied = await apply(database, opened, { reached: { "right/1": [both.row] } });
    expect(applied).toMatchObject({ lost: 1, removed: 1, differing: [] });
    expect(opened.connection.execute("SELECT * FROM code")).toEqual([both.row]);
    expect(opened.connection.execute("SELECT key FROM holdfast_row")).toEqual([["both"]]);
    expect(opened.connection.execute("SELECT scope, key FROM holdfast_member")).toEqual([
      ["right/1", "both"],
    ]);
    opened.close();
  });
});
