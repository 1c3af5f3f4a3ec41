/**
 * Monkeys at the shelf: seeded people who do anything, on lines that do anything; nothing is lost.
 *
 * One of them is in every run of the tests; `make search` lets others loose, too.
 * `STOCKROOM_SEEDS=40` tries so many others, from `STOCKROOM_FIRST_SEED` on; `STOCKROOM_STEPS=60` makes each
 * of them longer; with `STOCKROOM_MONKEY_SAYS=1` each step is told as it is done.
 */

import { test } from "vitest";

import { Monkey } from "../support/monkey/run.js";

const FIXED = [1];
const more = Number(process.env["STOCKROOM_SEEDS"] ?? 0);
const from = Number(process.env["STOCKROOM_FIRST_SEED"] ?? 100);
const steps = Number(process.env["STOCKROOM_STEPS"] ?? 12);
const seeds = more > 0 ? Array.from({ length: more }, (_, at) => from + at) : FIXED;

test.each(seeds)("seed %i", async (seed) => new Monkey(seed).run(steps), 60_000 + steps * 10_000);
