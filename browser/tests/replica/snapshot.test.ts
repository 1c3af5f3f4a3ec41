/**
 * A snapshot file is exactly what it should be, or refused before anything of it is copied.
 *
 * Checks I36.
 */

import { readFileSync } from "node:fs";

import { beforeAll, describe, expect, test } from "vitest";

import { Digest, RowHasher, rowHash, sumOf } from "../../src/core/digest.js";
import { FileRefused } from "../../src/core/errors.js";
import { type Row, rowKey } from "../../src/core/keys.js";
import { toHex } from "../../src/core/values.js";
import type { Position } from "../../src/protocol/messages.generated.js";
import { type Program, readProgram } from "../../src/replica/storage/program.js";
import { checkSnapshot } from "../../src/replica/load/snapshotFile.js";
import { openMemory } from "../../src/sqlite/open.js";
import { SCHEMA } from "../support/processes.js";
import { compiled } from "../support/program.js";

const KEY = new Uint8Array(32).fill(107);
const ROWS = 20;
let program: Program;
let whole: Uint8Array;
let position: Position;

beforeAll(async () => {
  program = readProgram(compiled(JSON.parse(readFileSync(SCHEMA, "utf8"))));
  const { connection, close } = await openMemory();
  connection.script(
    "CREATE TABLE holdfast_snapshot (format INTEGER, epoch TEXT, scope TEXT, version INTEGER, " +
      "count INTEGER, digest TEXT, seal TEXT, fingerprint TEXT, generation INTEGER)",
  );
  for (const { name, columns } of program.tables)
    connection.script(
      `CREATE TABLE "${name}" (holdfast_key TEXT, holdfast_rev INTEGER, holdfast_hash BLOB` +
        columns.map((column) => `, "${column.name}"`).join("") +
        ")",
    );
  const stock = program.byName.get("stock");
  if (stock === undefined) throw new Error("no stock");
  let digest = new Digest();
  for (let number = 0; number < ROWS; number += 1) {
    const row: Row = stock.columns.map(({ name, nullable, defaultValue }) =>
      name === "sku" ? `p${number}` : nullable ? null : defaultValue,
    );
    const key = rowKey(stock, row);
    const hash = rowHash(KEY, "stock", key, row);
    digest = digest.add(hash);
    connection.execute(`INSERT INTO stock VALUES (?, 7, ?, ${row.map(() => "?").join(", ")})`, [
      key,
      hash,
      ...row,
    ]);
  }
  position = { version: 3, count: digest.count, digest: digest.hex, seal: "seal" };
  const { fingerprint, schema } = program.json;
  connection.execute(
    "INSERT INTO holdfast_snapshot VALUES (1, 'e', 'main', 3, ?, ?, 'seal', ?, ?)",
    [BigInt(digest.count), digest.hex, fingerprint, BigInt(schema.generation ?? 1)],
  );
  whole = connection.serialize();
  close();
});

async function check(
  image: Uint8Array,
  changed: Partial<Position> = {},
  scope = "main",
  hashKey = KEY,
) {
  const { connection } = await openMemory(image);
  const expected = { epoch: "e", scope, hashKey, position: { ...position, ...changed } };
  await checkSnapshot(
    () => connection,
    program,
    expected,
    () => undefined,
  );
}

/** The file after somebody has worked on it. */
async function after(sql: string): Promise<Uint8Array> {
  const { connection, close } = await openMemory(whole);
  connection.script(sql);
  const image = connection.serialize();
  close();
  return image;
}

describe("a snapshot file", () => {
  test("as it should be is taken, and its rows are counted", async () => {
    await check(whole);
  });

  test("is refused with the key of another scope", async () => {
    await expect(check(whole, {}, "main", new Uint8Array(32))).rejects.toThrow("hash says");
  });

  test("many hashes of a table are those of one row each", () => {
    const hasher = new RowHasher(KEY, "t");
    for (const row of [["k"], ["k", 1n, null, "é", 0.5, new Uint8Array([0, 255])]] as Row[])
      expect(hasher.hash(row)).toEqual(rowHash(KEY, "t", "k", row.slice(1)));
  });

  test("sums of hashes are those of digests", () => {
    const hashes = Array.from({ length: 1000 }, (_, n) => rowHash(KEY, "t", `${n}`, [BigInt(n)]));
    const digest = new Digest().replace([], hashes);
    expect(sumOf(hashes.map(toHex).join(""))).toBe(digest.total);
    expect(sumOf("")).toBe(0n);
    expect(() => sumOf("00")).toThrow("length");
  });

  test.each([
    "CREATE TRIGGER t AFTER INSERT ON stock BEGIN DELETE FROM stock; END",
    "CREATE VIEW v AS SELECT 1",
    "CREATE INDEX i ON stock (sku)",
    "CREATE TABLE more (a)",
    "CREATE VIRTUAL TABLE more USING fts5(a)",
    "DROP TABLE store",
    "ALTER TABLE store ADD COLUMN more",
    "ALTER TABLE store ADD COLUMN more AS (1)",
    "DROP TABLE store; CREATE VIEW store AS SELECT 1",
    "DROP TABLE store; CREATE TABLE store (holdfast_key, holdfast_rev, holdfast_hash, id, " +
      "name AS (holdfast_key))",
    "DROP TABLE store; CREATE TABLE store (holdfast_key TEXT PRIMARY KEY, holdfast_rev INTEGER, " +
      "holdfast_hash BLOB, id, name) WITHOUT ROWID",
    "UPDATE holdfast_snapshot SET scope = 'other'",
    "UPDATE holdfast_snapshot SET epoch = 'f'",
    "UPDATE holdfast_snapshot SET version = 4",
    "UPDATE holdfast_snapshot SET format = 2",
    "UPDATE holdfast_snapshot SET seal = 'x'",
    "UPDATE holdfast_snapshot SET fingerprint = ''",
    "UPDATE holdfast_snapshot SET generation = generation + 1",
    "INSERT INTO holdfast_snapshot SELECT * FROM holdfast_snapshot",
    "DELETE FROM holdfast_snapshot",
    "DELETE FROM stock WHERE sku = 'p1'",
    "INSERT INTO stock SELECT * FROM stock WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_key = 'other' WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_key = NULL WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_key = CAST('p1' AS BLOB) WHERE sku = 'p1'",
    "UPDATE stock SET sku = 'other' WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_rev = 0 WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_rev = 'x' WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_rev = 9007199254740992 WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_hash = zeroblob(16) WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_hash = (SELECT holdfast_hash FROM stock AS o WHERE o.sku = " +
      "CASE stock.sku WHEN 'p1' THEN 'p2' ELSE 'p1' END) WHERE sku IN ('p1', 'p2')",
    "UPDATE stock SET holdfast_hash = zeroblob(32) WHERE sku = 'p1'",
    "UPDATE stock SET holdfast_hash = 'abcdefghijklmnop' WHERE sku = 'p1'",
  ])("is refused after: %s", async (sql) => {
    await expect(check(await after(sql))).rejects.toBeInstanceOf(FileRefused);
  });

  test("of another scope or position is refused", async () => {
    await expect(check(whole, {}, "other")).rejects.toBeInstanceOf(FileRefused);
    await expect(check(whole, { digest: "0".repeat(32) })).rejects.toBeInstanceOf(FileRefused);
    await expect(check(whole, { count: ROWS + 1 })).rejects.toBeInstanceOf(FileRefused);
  });

  test("with any of its pages damaged is refused", async () => {
    const page = new DataView(whole.buffer, whole.byteOffset).getUint16(16);
    for (let start = 0; start < whole.length; start += page)
      for (const damage of [
        new Uint8Array(page),
        whole.slice(start, start + 8).map((byte) => 255 - byte),
      ]) {
        const image = whole.slice();
        image.set(damage, start);
        await expect(check(image), `page at ${start}`).rejects.toMatchObject({
          name: expect.stringMatching(/^(FileRefused|DatabaseCorrupt|DatabaseError)$/) as string,
        });
      }
  });
});
