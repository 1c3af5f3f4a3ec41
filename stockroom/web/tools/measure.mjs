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
import { firstLoad, openBrowser, site, startServer } from "./measure/shop.mjs";
import { sizes } from "./measure/sizes.mjs";
import { adjustments, Steps, TERMS } from "./measure/steps.mjs";

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

function note(name, samples) {
  results[name] = summary(samples);
  console.error(`${name}: ${samples.map((one) => Math.round(one)).join(" ")}`);
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
    for (const [kind, terms] of Object.entries(TERMS)) {
      const took = [];
      for (const term of terms) {
        const one = await steps.keystrokes(term);
        took.push(...one.took);
        facts.found[term] = `${one.results.said}: ${one.results.first}`;
      }
      note(`search, ${kind}: key to painted`, took);
    }
    const typed = [];
    for (const term of Object.values(TERMS).flat()) typed.push(await steps.typing(term));
    note("search, fast typing: last key to painted", typed);
    await steps.page.getByRole("searchbox").fill("");
  }
  if (wants("scan")) {
    const took = [];
    for (const [code, product] of anywhere) took.push(await steps.scan(code, product));
    note("scan: last key to sheet painted", took);
  }
  if (wants("sheet")) {
    const took = [];
    for (const [, product] of anywhere) took.push(await steps.sheet(product));
    note("sheet, any product", took);
    const long = [];
    for (let round = 0; round < rounds; round += 1)
      long.push(await steps.sheet(longest[round % longest.length][0]));
    note(`sheet, ledgers of up to ${facts.longestLedger} entries`, long);
  }
  if (wants("list")) {
    await steps.toList();
    const [[products]] = await steps.rows("SELECT count(*) FROM product WHERE archived = 0");
    const took = [];
    for (let round = 0; round < rounds; round += 1)
      took.push(await steps.jump(Math.floor((products - 40) * ((round * 0.618 + 0.5) % 1))));
    note("list: jump to painted", took);
  }
  if (wants("write")) {
    await steps.toList();
    const like = await ids(
      "SELECT id FROM movement WHERE store_id = ? LIMIT ?",
      STORE.id,
      rounds * 5,
    );
    await steps.ask("pause");
    note("a question that does nothing", await steps.ask("questions", rounds * 5));
    const stop = await steps.storage();
    note("durable write, offline", await steps.ask("writes", adjustments(like)));
    const calls = await stop();
    facts.perWrite = Object.fromEntries(
      Object.entries(calls).map(([name, value]) => [name, rounded(value / like.length)]),
    );
    await steps.ask("resume");
    note("durable write, while syncing", await steps.ask("writes", adjustments(like)));
    const took = [];
    for (const [, product] of anywhere) took.push(await steps.adjusted(product));
    note("adjust form: click to painted 'saved'", took);
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
  if (isNew) {
    opened = await openBrowser(profile);
    await load(opened.page);
  }
  const starts = [];
  for (let round = 0; round < (wants("start") ? Math.min(rounds, 5) : 1); round += 1)
    starts.push(await start());
  if (wants("start")) note("cold start: navigation to list painted", starts);
  await measure(new Steps(opened.page));
} finally {
  await opened?.context.close();
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
