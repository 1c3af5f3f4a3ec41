/**
 * A row is sound if it is what was applied, in each of its scopes; one whose removal was forgotten is
 * behind, and not damaged.
 */

import { expect, test } from "vitest";
import { rowHash } from "../../src/core/digest.js";
import { tableOf } from "../../src/core/schema.js";
import { toHex } from "../../src/core/values.js";
import { sound } from "../../src/replica/exchange/verify.js";

const TABLE = tableOf({
  name: "task",
  key: ["id"],
  columns: [
    { name: "id", type: "text" },
    { name: "store", type: "text" },
  ],
  scopes: ["store/{store}", "tasks"],
});
const KEYS = new Map([
  ["tasks", new Uint8Array(16).fill(1)],
  ["store/1", new Uint8Array(16).fill(2)],
]);
const NONE = new Set<string>();

function held(row: readonly string[], ...scopes: string[]): Map<string, Map<string, string>> {
  const hashes = scopes.map((scope) => {
    const key = KEYS.get(scope) ?? new Uint8Array();
    return [scope, toHex(rowHash(key, "task", "t1", row))] as const;
  });
  return new Map([["t1", new Map(hashes)]]);
}

function isSound(row: string[], known: Map<string, Map<string, string>>, behind = NONE): boolean {
  return sound(TABLE, KEYS, "t1", row, known, behind);
}

test("what every scope of it has told is sound, and nothing else", () => {
  const row = ["t1", "1"];
  expect(isSound(row, held(row, "tasks", "store/1"))).toBe(true);
  expect(isSound(row, held(["t1", "2"], "tasks", "store/1"))).toBe(false);
  expect(isSound(row, held(row, "tasks"))).toBe(false);
  expect(isSound(row, new Map())).toBe(false);
});

test("of which a scope that came later has not told, is behind where it is still to be compared", () => {
  const row = ["t1", "1"];
  expect(isSound(row, held(row, "tasks"), new Set(["tasks"]))).toBe(true);
  expect(isSound(row, held(row, "tasks"), new Set(["store/1"]))).toBe(false);
  expect(isSound(row, held(["t1", "2"], "tasks"), new Set(["tasks"]))).toBe(false);
  expect(isSound(row, new Map(), new Set(["tasks"]))).toBe(false);
});
