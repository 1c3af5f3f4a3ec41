/**
 * Monkeys at the shelf: seeded people who do anything, on lines that do anything; nothing is lost.
 *
 * `STOCKROOM_SEEDS=40` tries so many more seeds, `STOCKROOM_STEPS=120` makes each of them longer.
 */

import { test } from "vitest";

import { Monkey } from "../support/monkey/run.js";

const FIXED = [1, 2];
const more = Number(process.env["STOCKROOM_SEEDS"] ?? 0);
const from = Number(process.env["STOCKROOM_FIRST_SEED"] ?? 100);
const steps = Number(process.env["STOCKROOM_STEPS"] ?? 15);
const seeds = more > 0 ? Array.from({ length: more }, (_, at) => from + at) : FIXED;

test.each(seeds)("seed %i", async (seed) => new Monkey(seed).run(steps), 60_000 + steps * 10_000);
