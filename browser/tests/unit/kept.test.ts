/**
 * How long acknowledged work is kept: two days though a backup of the server has it, seven where none has.
 *
 * Checks I5.
 */

import { afterEach, beforeEach, expect, test } from "vitest";

import { KEPT_BYTES_MAX, KEPT_SAVED_US, KEPT_US } from "../../src/core/limits.js";
import { giveUp, keep } from "../../src/replica/identity/kept.js";
import type { LocalDatabase } from "../../src/replica/storage/database.js";
import { readStatus, UNKNOWN } from "../../src/replica/storage/status.js";
import type { Opened } from "../../src/sqlite/open.js";
import { device } from "../support/codes.js";

const NOW = 1_700_000_000_000_000;

let database: LocalDatabase;
let opened: Opened;

beforeEach(async () => {
  [database, opened] = await device();
});

afterEach(() => {
  opened.connection.close();
});

/** Keep some that were acknowledged so long ago. */
function kept(numbers: readonly number[], { ago = 0 } = {}): void {
  for (const number of numbers) {
    const made = { number, id: `id ${String(number)}`, at: NOW - ago, changes: [] };
    keep(database, made, 1, NOW - ago);
  }
}

const numbers = (): unknown[] =>
  opened.connection.execute("SELECT number FROM holdfast_kept ORDER BY number").flat().map(Number);

const lost = (): number =>
  readStatus(database, UNKNOWN, { server: "", persisted: null, loading: null }).keptLost;

test("what a backup has is kept two days longer, and given up without a loss", () => {
  kept([1, 2], { ago: KEPT_SAVED_US });
  kept([3, 4]);
  giveUp(database, 3, NOW);
  expect(numbers()).toEqual([1, 2, 3, 4]);
  giveUp(database, 3, NOW + 1);
  expect(numbers()).toEqual([3, 4]);
  giveUp(database, 0, NOW + KEPT_SAVED_US + 1); // what was told once of a backup holds
  expect(numbers()).toEqual([4]);
  expect(database.state("kept_bytes")[0]).toBeGreaterThan(0n);
  giveUp(database, 4, NOW + KEPT_SAVED_US + 1);
  expect(numbers()).toEqual([]);
  expect([database.state("kept_bytes")[0], lost()]).toEqual([0n, 0]);
});

test("what no backup has is given up after seven days, and counted", () => {
  kept([1, 2], { ago: KEPT_US });
  giveUp(database, 0, NOW);
  expect([numbers(), lost()]).toEqual([[1, 2], 0]);
  giveUp(database, 0, NOW + 1);
  expect([numbers(), lost()]).toEqual([[], 2]);
});

test("more than there is room for: the oldest goes, also where no backup has it", () => {
  kept([1, 2, 3]);
  database.writeState({ kept_bytes: BigInt(KEPT_BYTES_MAX) + 1n });
  giveUp(database, 0, NOW);
  expect([numbers(), lost()]).toEqual([[2, 3], 1]);
});
