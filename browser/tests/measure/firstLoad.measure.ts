/**
 * How long a first load takes in Chromium, stage by stage, and how much memory its renderer has at most.
 *
 * ROWS, RUNS: how many products (100,000), and how often (3). The server has the file ready.
 */

import { readdirSync, readFileSync } from "node:fs";

import { test } from "vitest";

import { Chromium } from "../support/chromium.js";
import { open, settled, SITE } from "../support/page.js";
import { PythonDevice, Server } from "../support/processes.js";
import { COUNT_ALL, fill } from "../support/stock.js";

const ROWS = Number(process.env.ROWS ?? 100_000);
const RUNS = Number(process.env.RUNS ?? 3);

declare global {
  var marks: [string, number][];
}

/** Peak resident memory of this browser's largest renderer, in MiB. */
function peakMib(leader: number): number {
  let peak = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
    try {
      const group = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[2];
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      if (group !== String(leader) || !command.includes("--type=renderer")) continue;
      const found = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
      peak = Math.max(peak, Number(found?.[1] ?? 0) / 1024);
    } catch {
      // It has ended meanwhile.
    }
  return Math.round(peak);
}

test(`a first load of ${ROWS} rows`, async () => {
  const server = await Server.start(SITE, { fileRows: 20_000 });
  const python = new PythonDevice(server);
  try {
    server.shell(fill(ROWS));
    await python.sync(); // has the file made
    for (let run = 0; run < RUNS; run += 1) {
      const browser = await Chromium.start();
      try {
        const page = await browser.page(`${server.url}/site/`);
        await page.evaluate(() => {
          globalThis.marks = [["open", performance.now()]];
        });
        const before = peakMib(browser.pid);
        await open(page, run === 0 ? "token-a" : `token-run-${run}`);
        await page.evaluate(async () => {
          await replica.watchStatus(({ loading, verifiedAt }) => {
            const now = loading?.stage ?? (verifiedAt === null ? "exchanging" : "done");
            if (now !== marks.at(-1)?.[0]) marks.push([now, performance.now()]);
          });
        });
        await settled(page);
        const [[rows] = []] = (await page.evaluate(
          async (sql) => (await replica.query(sql)).rows,
          COUNT_ALL,
        )) as number[][];
        const marks = await page.evaluate(() => globalThis.marks);
        const spans = marks.slice(0, -1).map(([name, at], index) => {
          return `${name} ${Math.round((marks[index + 1]?.[1] ?? at) - at)} ms`;
        });
        const allMs = (marks.at(-1)?.[1] ?? 0) - (marks[0]?.[1] ?? 0);
        const importing = marks.findIndex(([name]) => name === "downloading");
        const loadMs = (marks.at(-1)?.[1] ?? 0) - (marks[importing]?.[1] ?? 0);
        console.log(
          `${rows} rows in ${Math.round(allMs)} ms: ${Math.round((Number(rows) / allMs) * 1000)} rows/s; ` +
            `from the first byte of the file ${Math.round((Number(rows) / loadMs) * 1000)} rows/s\n` +
            `  ${spans.join(", ")}\n  renderer ${before} -> ${peakMib(browser.pid)} MiB at its peak`,
        );
      } finally {
        await browser.close();
      }
    }
  } finally {
    await python.close();
    await server.close();
  }
});
