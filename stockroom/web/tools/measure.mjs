// How the app does with a large shop: `npm run measure -- [options]`.
//
//   --products N --movements N   the size of the shop (100000 and 300000)
//   --shop FILE                  keep the server's database there and use it again: making it takes minutes
//   --profile FOLDER             keep the browser's profile there; where it has data, the first load is left out
//   --port N                     of the server (8047): a kept profile's data belongs to one port
//   --rounds N                   how often each thing is done (20)
//   --only WORD                  search, scan, sheet, list, write or start; again for more
//   --json FILE                  the figures for programs
//
// Starts a real server and the system's Chromium, signs in, loads everything, and prints a table. This is
// a measurement and no test: nothing fails because it is slow.
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { rounded, summary, table } from "./measure/report.mjs";
import { firstLoad, openBrowser, renew, site, startServer } from "./measure/shop.mjs";
import { sizes } from "./measure/sizes.mjs";
import { adjustments, Steps, TERMS } from "./measure/steps.mjs";

/** A quick hand with a scanner. */
const PEOPLE_GAP_MS = 100;
const STORE = { id: "3", name: "Station Arcade" };

const { values: options } = parseArgs({
  options: {
    products: { type: "string", default: "100000" },
    movements: { type: "string", default: "300000" },
    shop: { type: "string" },
    profile: { type: "string" },
    port: { type: "string", default: "8047" },
    rounds: { type: "string", default: "20" },
    only: { type: "string", multiple: true },
    json: { type: "string" },
  },
});
const rounds = Number(options.rounds);
const wants = (word) => options.only === undefined || options.only.includes(word);

const scratch = await mkdtemp(path.join(tmpdir(), "stockroom-measure-"));
const web = path.join(scratch, "web");
const profile = path.resolve(options.profile ?? path.join(scratch, "profile"));
const isNew = (await readdir(profile).catch(() => [])).length === 0;
const results = {};
const facts = {};
let server;
let opened;

/** Processor time of the pages and their workers so far, in milliseconds. */
async function cpuMs() {
  const session = await opened.context.browser().newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const pages = processInfo.filter(({ type }) => type === "renderer");
  return 1000 * pages.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

/** Samples of one kind; and what a round costs in processor time, the way back included. */
async function take(name, run) {
  const before = await cpuMs();
  const samples = await run();
  const cpu = rounded(((await cpuMs()) - before) / samples.length);
  results[name] = { ...summary(samples), cpu };
  console.error(`${name}: ${samples.map((one) => Math.round(one)).join(" ")}`);
}

/** One sample for each of these. */
async function each(things, measure) {
  const took = [];
  for (const one of things) took.push(await measure(one));
  return took;
}

async function load(page) {
  const tookMs = await firstLoad(page, server.url, STORE.name);
  const [[products, codes, movements]] = await new Steps(page).rows(
    "SELECT (SELECT count(*) FROM product), (SELECT count(*) FROM barcode), (SELECT count(*) FROM movement)",
  );
  const rows = products + codes + movements;
  facts.firstLoad = {
    seconds: rounded(tookMs / 1000),
    rows,
    rowsPerSecond: Math.round(rows / (tookMs / 1000)),
  };
  console.error(`first load: ${JSON.stringify(facts.firstLoad)}`);
}

/** A new browser process on the same profile, until the list is painted. */
async function start() {
  await opened?.context.close();
  opened = await openBrowser(profile);
  await opened.page.goto(server.url, { waitUntil: "commit" });
  return await opened.page.evaluate(() => measuring.list());
}

async function measure(steps) {
  const ids = async (sql, ...params) => (await steps.rows(sql, params)).map(([id]) => id);
  const anywhere = await steps.rows(
    "SELECT b.code, b.product_id FROM barcode AS b JOIN stock_on_hand AS s ON s.product_id = b.product_id " +
      "WHERE s.store_id = ? ORDER BY substr(b.code, 9, 4) LIMIT ?",
    [STORE.id, rounds],
  );
  const longest = await steps.rows(
    "SELECT product_id, count(*) FROM movement WHERE store_id = ? GROUP BY product_id ORDER BY 2 DESC LIMIT 5",
    [STORE.id],
  );
  facts.longestLedger = longest[0]?.[1] ?? 0;
  if (wants("search")) {
    await steps.toList();
    facts.found = {};
    for (const [kind, terms] of Object.entries(TERMS))
      await take(`search, ${kind}: key to painted`, async () => {
        const took = await each(terms, async (term) => {
          const { took: keys, results: shown } = await steps.keystrokes(term);
          facts.found[term] = `${shown.said}: ${shown.first}`;
          return keys;
        });
        return took.flat();
      });
    await take("search, fast typing: last key to painted", () =>
      each(Object.values(TERMS).flat(), (term) => steps.typing(term)),
    );
    await steps.page.getByRole("searchbox").fill("");
  }
  if (wants("scan"))
    await take("scan: last key to sheet painted", () =>
      each(anywhere, ([code, product]) => steps.scan(code, product)),
    );
  if (wants("sheet")) {
    await take("sheet, any product", () => each(anywhere, ([, product]) => steps.sheet(product)));
    const long = Array.from({ length: rounds }, (_, at) => longest[at % longest.length]);
    await take(`sheet, ledgers of up to ${facts.longestLedger} entries`, () =>
      each(long, ([product]) => steps.sheet(product)),
    );
  }
  if (wants("list")) {
    await steps.toList();
    const [[products]] = await steps.rows("SELECT count(*) FROM product WHERE archived = 0");
    const places = Array.from({ length: rounds }, (_, at) => (at * 0.618 + 0.5) % 1);
    await take("list: jump to painted", () =>
      each(places, (share) => steps.jump(Math.floor((products - 40) * share))),
    );
  }
  if (wants("write")) {
    await steps.toList();
    const like = await ids(
      "SELECT id FROM movement WHERE store_id = ? LIMIT ?",
      STORE.id,
      rounds * 5,
    );
    const writes = (gapMs) => steps.ask("writes", adjustments(like), gapMs);
    await steps.ask("pause");
    await take("a question that does nothing", () => steps.ask("questions", rounds * 5));
    const stop = await steps.storage();
    await take("durable write, now and then", () => writes(PEOPLE_GAP_MS));
    const calls = await stop();
    facts.perWrite = Object.fromEntries(
      Object.entries(calls).map(([name, value]) => [name, rounded(value / like.length)]),
    );
    await take("durable write, one after another", () => writes(0));
    await steps.ask("resume");
    await take("durable write, while syncing", () => writes(PEOPLE_GAP_MS));
    await take("adjust form: click to painted 'saved'", () =>
      each(anywhere, ([, product]) => steps.adjusted(product)),
    );
  }
}

try {
  facts.sizes = await sizes();
  await site(web);
  server = await startServer({
    database: path.resolve(options.shop ?? path.join(scratch, "shop.db")),
    web,
    port: options.port,
    products: options.products,
    movements: options.movements,
  });
  opened = await openBrowser(profile);
  if (isNew) await load(opened.page);
  else await renew(opened.page, server.url);
  const starts = [];
  for (let round = 0; round < (wants("start") ? Math.min(rounds, 5) : 1); round += 1)
    starts.push(await start());
  if (wants("start")) results["cold start: navigation to list painted"] = summary(starts);
  await measure(new Steps(opened.page));
} finally {
  // After an interrupt it is closed already; the server has to be ended all the same.
  await opened?.context.close().catch(() => undefined);
  await server?.stop();
  await rm(scratch, { recursive: true, force: true });
}

const revision = execFileSync("git", ["describe", "--always", "--dirty"], {
  encoding: "utf8",
}).trim();
const about = {
  revision,
  cores: cpus().length,
  load: loadavg().map(rounded),
  node: process.version,
  products: Number(options.products),
  movements: Number(options.movements),
};
console.log(table(results));
console.log(JSON.stringify({ about, facts }, null, 2));
if (options.json !== undefined)
  await writeFile(options.json, JSON.stringify({ about, facts, results }, null, 2) + "\n");
