/**
 * Salvage of a damaged replica: from what its pages still hold to a whole database in its place.
 *
 * Knows: the order of the steps. Must not know: pages, or where the bytes lie.
 * What it makes is in memory; whoever has the file keeps the damaged bytes, and then puts these in their
 * place (`sqlite/damaged`). All that is saved has its number and id, so nothing is done twice.
 *
 * Upholds I32 and I34.
 */

import { HoldfastError, ReplicaError } from "../../core/errors.js";
import { Connection } from "../../sqlite/connection.js";
import type { Image } from "../../sqlite/damaged.js";
import { sqlite } from "../../sqlite/open.js";
import { changeMessage } from "../changes/outbox.js";
import type { Host } from "../host.js";
import { noteOf } from "../rebase/overlay.js";
import { LocalDatabase } from "../storage/database.js";
import {
  type Program,
  readAnyProgram,
  readProgram,
  type ReplicaProgram,
} from "../storage/program.js";
import { type Finds, inWords, readFinds, readState } from "./finds.js";
import { Pages } from "./pages.js";
import { rebuild, type SalvageResult } from "./rebuild.js";
import { type RowValues, Tables } from "./tables.js";
import { type StoredObject, Trees } from "./trees.js";

const OURS = ["holdfast_", "sqlite_"];
const CARRIED = ["holdfast_kept", "holdfast_event", "holdfast_added", "holdfast_request"];

/** `transactions` with `changes` go on by themselves; `toInbox` wait for a person, those that waited before
 * included. `lost`: what could not be read, in words. `isOk`: nothing that was not settled is lost, or
 * waits because of it. */
export interface SalvageReport {
  readonly transactions: number;
  readonly changes: number;
  readonly toInbox: number;
  readonly lost: readonly string[];
  readonly isOk: boolean;
  /** A sentence for a person. */
  readonly text: string;
}

export interface Salvaged {
  readonly report: SalvageReport;
  /** The new database as a file's bytes. */
  readonly database: Uint8Array;
  /** The work that is not settled as text: one JSON object a line for each transaction. */
  readonly work: string;
}

/** Make a whole replica of a damaged one's bytes. `program`: for a file that does not have its own any more.
 * Throws `ReplicaError` (`schema_needed`). */
export async function salvage(
  image: Image,
  program: ReplicaProgram | null,
  host: Host,
): Promise<Salvaged> {
  const module = await sqlite();
  const scratch = (): Connection => new Connection(module, new module.oo1.DB(":memory:"));
  const trees = new Trees(new Pages(image));
  const tables = new Tables(trees, scratch);
  const state = readState(tables);
  const own = ownProgram(tables, state, program);
  const app = appTables(trees.objects, own);
  const finds = readFinds(tables, own, state, [...CARRIED, ...app]);
  const connection = scratch();
  try {
    connection.execute("PRAGMA foreign_keys = 1");
    connection.execute("PRAGMA secure_delete = 1");
    const database = LocalDatabase.open(connection, own.json, () => undefined);
    makeAppTables(connection, trees.objects, app);
    const lost = inWords(finds.losses);
    const told = (result: SalvageResult): SalvageReport => reportOf(finds, lost, result);
    const result = rebuild(database, finds, host, (built) => told(built).text);
    return { report: told(result), work: workOf(database), database: connection.serialize() };
  } finally {
    connection.close();
  }
}

/** The program that the file was made by, or the one that is given for it. */
function ownProgram(tables: Tables, state: RowValues, given: ReplicaProgram | null): Program {
  const kept = tables.read("holdfast_host", () => true, false);
  for (const row of kept?.rows.values() ?? []) {
    if (row.get("name") !== "program") continue;
    try {
      const found = JSON.parse(String(row.get("value"))) as ReplicaProgram;
      if (found.fingerprint === state.get("fingerprint")) return readProgram(found);
    } catch {
      continue; // it is damaged, or of another format
    }
  }
  if (given === null)
    throw new ReplicaError(
      "the replica is damaged, and its schema can no longer be read: open it with the app that made it; nothing was changed",
      "schema_needed",
    );
  return readAnyProgram(given);
}

function reportOf(finds: Finds, lost: readonly string[], result: SalvageResult): SalvageReport {
  const { transactions, changes, toInbox, stopped } = result;
  const isWhole = finds.damaged.size === 0 && !finds.losses.some(({ isUnsettled }) => isUnsettled);
  const saved = `${transactions} unsent transaction${transactions === 1 ? "" : "s"}`;
  const waits = toInbox > 0 ? `, ${toInbox} wait in the inbox` : "";
  const gone = lost.length > 0 ? `; not readable: ${lost.slice(0, 5).join(", ")}` : "";
  return {
    transactions,
    changes,
    toInbox,
    lost,
    isOk: isWhole && stopped === 0,
    text: `This device's data was damaged. ${saved} were saved from it${waits}, and the rest is loaded again${gone}. The damaged file is kept.`,
  };
}

/** The tables of the file that are the app's own. */
function appTables(objects: ReadonlyMap<string, StoredObject>, program: Program): string[] {
  const all = [...objects.values()];
  const virtual = all
    .filter(({ sql }) => sql.toUpperCase().startsWith("CREATE VIRTUAL"))
    .map(({ name }) => name);
  const notOwn = [...OURS, ...virtual.map((name) => `${name}_`)];
  return all
    .filter(
      ({ kind, name }) =>
        kind === "table" &&
        !notOwn.some((prefix) => name.startsWith(prefix)) &&
        !program.byName.has(name) &&
        !virtual.includes(name),
    )
    .map(({ name }) => name);
}

/** Make the app's own tables, with what belongs to them, where the new file has them not yet. */
function makeAppTables(
  connection: Connection,
  objects: ReadonlyMap<string, StoredObject>,
  app: readonly string[],
): void {
  const found = connection.execute("SELECT name FROM sqlite_schema");
  const there = new Set(found.map(([name]) => String(name)));
  for (const kind of ["table", "index", "view", "trigger"])
    for (const one of objects.values()) {
      if (one.kind !== kind || !app.includes(one.table) || one.sql === "" || there.has(one.name))
        continue;
      try {
        connection.script(one.sql);
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
      }
    }
}

/** All transactions that are not settled, and those in the inbox, as text. */
function workOf(database: LocalDatabase): string {
  const { connection, program } = database;
  const heads = connection.execute(program.bookkeeping.transactions.described);
  return heads
    .map(([number, id, state, at, after, code, message]) => {
      const changes = program.tables.flatMap((table) =>
        connection
          .execute(program.statements(table).changes, [number ?? 0n, number ?? 0n])
          .map((row) => {
            try {
              return changeMessage(table, noteOf(table, row));
            } catch (error) {
              if (!(error instanceof HoldfastError)) throw error;
              return { table: table.name, key: String(row[1]), error: error.message };
            }
          }),
      );
      const [told, moment] = [Number(number), Number(at)];
      const rests: unknown = JSON.parse(String(after));
      const line = { number: told, id, state, at: moment, after: rests, code, message, changes };
      return `${JSON.stringify(line)}\n`;
    })
    .join("");
}
