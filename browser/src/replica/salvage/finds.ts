/**
 * Work of a replica as it can be read in its damaged file, and what cannot be.
 *
 * Knows: the engine's tables, and which of them say the same thing twice. Must not know: how a file is
 * read, or what becomes of the finds.
 *
 * A transaction is a set (I16): one of which a change is missing, or may be, is `damaged`, and is for a
 * person to decide. The keys of changes stand in two indexes as well, so mostly it is known which are
 * missing. What was not sealed yet needs the rows as they are now, so those of the log's keys are looked
 * for, too.
 */

import { keyText, keyValues, rowKey } from "../../core/keys.js";
import type { Column, Table } from "../../core/schema.js";
import type { Value } from "../../core/values.js";
import type { Program } from "../storage/program.js";
import type { RowValues, TableFinds, Tables } from "./tables.js";

const STATES: ReadonlySet<unknown> = new Set(["pending", "sent", "acked", "refused", "held"]);
const MAKES = /^CREATE TABLE (?:IF NOT EXISTS )?"?(\w+)"?/;
const NEVER = Number.MAX_SAFE_INTEGER;

/** Something that could not be read: a change of a row, or a whole transaction. `key`: empty when it is not
 * known; `number`: 0 when it has none yet; `isUnsettled`: whether it may have had anything that was not
 * settled. */
export interface Loss {
  readonly table: string;
  readonly key: string;
  readonly number: number;
  readonly isUnsettled: boolean;
}

/** All that was found. `damaged`: numbers of transactions that are not whole, and why. */
export interface Finds {
  readonly state: RowValues;
  transactions: Map<number, RowValues>;
  readonly changes: Map<string, RowValues[]>;
  readonly damaged: Map<number, string>;
  log: RowValues[];
  /** Whether notes of the log, or the rows that they need, are missing. */
  isLogDamaged: boolean;
  /** Rows as they are now, of the log's keys. */
  readonly rows: Map<string, RowValues[]>;
  readonly revisions: (readonly [string, string, Value])[];
  /** Other tables that are carried over as they are. */
  readonly kept: Map<string, TableFinds>;
  readonly losses: Loss[];
}

const lost = (about: Partial<Loss>): Loss => ({
  table: "",
  key: "",
  number: 0,
  isUnsettled: true,
  ...about,
});

/** Return what is lost, each once, in words. */
export function inWords(losses: readonly Loss[]): string[] {
  const numbers = losses.filter(({ table }) => table === "").map(({ number }) => number);
  const words = [...new Set(numbers)]
    .sort((left, right) => left - right)
    .reduce<[number, number][]>((runs, number) => {
      const last = runs.at(-1);
      if (last !== undefined && last[1] === number - 1) last[1] = number;
      else runs.push([number, number]);
      return runs;
    }, [])
    .map(([first, last]) =>
      first === last ? `transaction ${first}` : `transactions ${first} to ${last}`,
    );
  const named = losses
    .filter(({ table }) => table !== "")
    .map(({ table, key, number }) => {
      const what = `${table} ${key}`.trim();
      return number > 0 ? `${what} (transaction ${number})` : what;
    });
  return [...words, ...new Set(named)];
}

/** The row that says which replica it is; empty when it cannot be read. */
export function readState(tables: Tables): RowValues {
  const found = tables.read("holdfast_state", isState);
  tables.settleClaims(() => true);
  return found?.rows.values().next().value ?? new Map();
}

/** All that can be read. `carried`: more tables to be read whole. */
export function readFinds(
  tables: Tables,
  program: Program,
  state: RowValues,
  carried: readonly string[],
): Finds {
  tables.known = tablesOf(program);
  const finds: Finds = {
    state,
    transactions: new Map(),
    changes: new Map(),
    damaged: new Map(),
    log: [],
    isLogDamaged: false,
    rows: new Map(),
    revisions: [],
    kept: new Map(),
    losses: [],
  };
  new Reader(tables, program, finds).read();
  for (const name of carried) {
    const found = tables.read(name, () => true, false);
    if (found === null) continue;
    finds.kept.set(name, found);
    if (found.holes.length > 0) finds.losses.push(lost({ table: name, isUnsettled: false }));
  }
  return finds;
}

/** Return the statements that make the tables of a replica, by name. */
export function tablesOf(program: Program): Map<string, string> {
  const found = new Map<string, string>();
  for (const sql of program.json.create) {
    const name = MAKES.exec(sql)?.[1];
    if (name !== undefined) found.set(name, sql);
  }
  return found;
}

/** Reads the tables of one replica into its finds. */
class Reader {
  readonly #tables: Tables;
  readonly #program: Program;
  readonly #finds: Finds;

  constructor(tables: Tables, program: Program, finds: Finds) {
    this.#tables = tables;
    this.#program = program;
    this.#finds = finds;
  }

  read(): void {
    const heads = this.#tables.read("holdfast_tx", isHead);
    const changes = new Map(
      this.#program.tables.map((table) => [table.name, this.#changes(table)]),
    );
    const log = this.#tables.read(
      "holdfast_log",
      (row) =>
        row.get("tbl") === "" ||
        (this.#program.byName.has(String(row.get("tbl"))) && isFlag(row.get("was"))),
    );
    this.#tables.settleClaims((name, rows) => this.#proves(name, rows));
    for (const [name, found] of changes)
      if (found !== null) this.#finds.changes.set(name, inOrder(found));
    this.#takeHeads(heads);
    for (const [name, found] of changes)
      if (found !== null && found.holes.length > 0) this.#missChanges(name, found);
    if (log !== null) this.#readLog(log);
  }

  // --- transactions --------------------------------------------------------------------------------

  #takeHeads(heads: TableFinds | null): void {
    const finds = this.#finds;
    const acked = new Set<number>();
    for (const row of heads?.rows.values() ?? []) {
      const number = numberOf(row.get("number"));
      if (row.get("state") === "acked") acked.add(number);
      else finds.transactions.set(number, row);
    }
    const noted = new Set<number>();
    for (const [name, rows] of finds.changes) {
      const left = rows.filter((row) => !acked.has(numberOf(row.get("tx"))));
      finds.changes.set(name, left);
      for (const row of left) noted.add(numberOf(row.get("tx")));
    }
    for (const number of [...noted].sort((left, right) => left - right))
      if (!finds.transactions.has(number))
        finds.damaged.set(number, "what is known of it apart from its changes could not be read");
    if (heads !== null && heads.holes.length === 0) return;
    const end = finds.state.get("open_tx");
    if (heads === null || typeof end !== "bigint") {
      finds.losses.push(lost({ table: "holdfast_tx" })); // nobody knows how many there were
      return;
    }
    const confirmed = numberOf(finds.state.get("confirmed") ?? 0n);
    for (const [before, behind] of heads.holes) {
      const last = Math.min(Number(end), behind ?? NEVER);
      for (let number = Math.max(confirmed, before ?? 0) + 1; number < last; number += 1)
        if (!finds.transactions.has(number) && !noted.has(number) && !acked.has(number))
          finds.losses.push(lost({ number }));
    }
  }

  #changes(table: Table): TableFinds | null {
    const fits = (row: RowValues): boolean => {
      const [tx, key] = [row.get("tx"), row.get("key")];
      return (
        typeof tx === "bigint" &&
        tx > 0n &&
        typeof key === "string" &&
        isFlag(row.get("was")) &&
        isFlag(row.get("now")) &&
        typeof row.get("base") === "bigint" &&
        isBases(row.get("bases")) &&
        isKey(table, key) &&
        table.dataColumns.every((column) =>
          ["o_", "n_"].every((prefix) => {
            const value = row.get(prefix + column.name) ?? null;
            // Bytes: text that is none, as sealing keeps it.
            return holds(column, value) || value instanceof Uint8Array;
          }),
        )
      );
    };
    return this.#tables.read(`holdfast_change_${table.name}`, fits);
  }

  /** Return whether an index has the keys of rows that may be of several tables. */
  #proves(name: string, rows: ReadonlyMap<number, RowValues>): boolean {
    if (!name.startsWith("holdfast_change_")) return false;
    const { entries } = this.#keys(name.slice("holdfast_change_".length));
    return entries.some(([key, tx, rowid]) => {
      const row = rows.get(numberOf(rowid));
      return row?.get("key") === key && row?.get("tx") === tx;
    });
  }

  /** Key, transaction and rowid of the changes, as an index has them. */
  #keys(table: string): { readonly entries: readonly (readonly Value[])[]; isWhole: boolean } {
    const found = this.#tables.index(`sqlite_autoindex_holdfast_change_${table}_1`);
    return {
      entries: (found?.entries ?? []).filter(({ length }) => length === 3),
      isWhole: found?.isWhole ?? false,
    };
  }

  /** Note which transactions lack changes of this table, or may. */
  #missChanges(table: string, found: TableFinds): void {
    const finds = this.#finds;
    const keys = this.#keys(table);
    const byTx = this.#tables.index(`holdfast_by_tx_${table}`);
    const missing = new Map<number, readonly [number, string]>();
    for (const [tx, rowid] of byTx?.entries ?? [])
      if (typeof tx === "bigint" && typeof rowid === "bigint")
        missing.set(Number(rowid), [Number(tx), ""]);
    for (const [key, tx, rowid] of keys.entries)
      if (typeof tx === "bigint" && typeof rowid === "bigint")
        missing.set(Number(rowid), [Number(tx), String(key)]);
    for (const [rowid, [number, key]] of missing) {
      if (found.rows.has(rowid)) continue;
      if (!finds.transactions.has(number) && !finds.damaged.has(number)) continue;
      finds.losses.push(lost({ table, key, number }));
      const what = `its change of ${table} ${key}`.trim();
      if (!finds.damaged.has(number)) finds.damaged.set(number, `${what} could not be read`);
    }
    if (keys.isWhole || byTx?.isWhole) return;
    finds.losses.push(lost({ table }));
    const at = (rowid: number | null, otherwise: number): number => {
      const tx = rowid === null ? undefined : found.rows.get(rowid)?.get("tx");
      return tx === undefined ? otherwise : numberOf(tx);
    };
    for (const [before, behind] of found.holes) {
      const [first, last] = [at(before, 0), at(behind, NEVER)];
      for (const number of finds.transactions.keys())
        if (first <= number && number <= last && !finds.damaged.has(number))
          finds.damaged.set(
            number,
            `it may have had more changes of ${table}, which could not be read`,
          );
    }
  }

  // --- what is not sealed --------------------------------------------------------------------------

  #readLog(found: TableFinds): void {
    const finds = this.#finds;
    finds.log = inOrder(found);
    finds.isLogDamaged = found.holes.length > 0;
    if (finds.isLogDamaged) finds.losses.push(lost({ table: "holdfast_log" }));
    const touched = new Map<Table, Map<string, RowValues[]>>();
    for (const row of finds.log) {
      const table = this.#program.byName.get(String(row.get("tbl")));
      if (table === undefined) continue;
      const key = keyText(
        table,
        table.key.map((_, place) => row.get(`c${place}`) ?? null),
      );
      const notes = touched.get(table) ?? new Map<string, RowValues[]>();
      touched.set(table, notes);
      notes.set(key, [...(notes.get(key) ?? []), row]);
    }
    if (touched.size === 0) return;
    for (const [table, notes] of touched) this.#rowsNow(table, notes);
    const keys = new Map([...touched].map(([table, notes]) => [table.name, notes]));
    const revisions = this.#tables.read(
      "holdfast_row",
      (row) => typeof row.get("rev") === "bigint",
    );
    for (const row of revisions?.rows.values() ?? []) {
      const [table, key] = [String(row.get("tbl")), String(row.get("key"))];
      if (keys.get(table)?.has(key)) finds.revisions.push([table, key, row.get("rev") ?? 0n]);
    }
  }

  /** The rows of the log's keys. Of one that cannot be read, the last group's change is lost: it counts as
   * being what it was before that. */
  #rowsNow(table: Table, notes: ReadonlyMap<string, RowValues[]>): void {
    const finds = this.#finds;
    const fits = (row: RowValues): boolean =>
      table.columns.every((column) => holds(column, row.get(column.name) ?? null));
    const found = this.#tables.read(table.name, fits);
    this.#tables.settleClaims((name, rows) => this.#proves(name, rows));
    const rows = new Map<string, RowValues>();
    for (const row of found?.rows.values() ?? []) {
      const key = rowKey(
        table,
        table.columns.map(({ name }) => row.get(name) ?? null),
      );
      if (notes.has(key)) rows.set(key, row);
    }
    if (found === null || found.holes.length > 0) {
      const present = this.#present(table);
      for (const [key, changes] of notes) {
        if (rows.has(key) || (present.isWhole && !present.keys.has(key))) continue;
        finds.isLogDamaged = true;
        finds.losses.push(lost({ table: table.name, key }));
        const before = this.#beforeLastGroup(changes);
        if (before?.get("was") !== 1n) continue;
        const places = [...table.key, ...table.dataColumns.map(({ name }) => name)];
        rows.set(key, new Map(places.map((name, at) => [name, before.get(`c${at}`) ?? null])));
      }
    }
    finds.rows.set(table.name, [...rows.values()]);
  }

  #beforeLastGroup(notes: readonly RowValues[]): RowValues | undefined {
    const last = numberOf(notes.at(-1)?.get("seq"));
    const begin = this.#finds.log
      .filter((row) => row.get("tbl") === "" && numberOf(row.get("seq")) < last)
      .reduce((most, row) => Math.max(most, numberOf(row.get("seq"))), 0);
    return notes.find((note) => numberOf(note.get("seq")) > begin);
  }

  /** The keys of a table's rows, as the index of its key has them. */
  #present(table: Table): { readonly keys: ReadonlySet<string>; readonly isWhole: boolean } {
    const found = this.#tables.index(`sqlite_autoindex_${table.name}_1`);
    const keys = (found?.entries ?? []).map((entry) =>
      keyText(table, entry.slice(0, table.key.length)),
    );
    return { keys: new Set(keys), isWhole: found?.isWhole ?? false };
  }
}

const isFlag = (value: Value | undefined): boolean => value === 0n || value === 1n;
const numberOf = (value: Value | undefined): number =>
  typeof value === "bigint" ? Number(value) : 0;
const inOrder = ({ rows }: TableFinds): RowValues[] =>
  [...rows].sort(([left], [right]) => left - right).map(([, row]) => row);

/** Return whether a column can hold a value. SQLite keeps a whole number in a column of REAL as an integer. */
function holds({ type }: Column, value: Value): boolean {
  if (value === null) return true;
  if (type === "bytes") return value instanceof Uint8Array;
  if (type === "real") return typeof value === "number" || typeof value === "bigint";
  if (type === "integer" || type === "boolean" || type === "timestamp")
    return typeof value === "bigint";
  return typeof value === "string";
}

function isState(row: RowValues): boolean {
  const fingerprint = row.get("fingerprint");
  return (
    ["format", "open_tx", "stamp_us"].every((name) => typeof row.get(name) === "bigint") &&
    isFlag(row.get("applying")) &&
    typeof row.get("device") === "string" &&
    typeof row.get("user") === "string" &&
    typeof fingerprint === "string" &&
    fingerprint.length === 32
  );
}

function isHead(row: RowValues): boolean {
  const after = parsed(row.get("after"));
  return (
    STATES.has(row.get("state")) &&
    typeof row.get("id") === "string" &&
    typeof row.get("at") === "bigint" &&
    Array.isArray(after) &&
    after.every(Number.isInteger)
  );
}

function isBases(text: Value | undefined): boolean {
  if (text === null || text === undefined) return true;
  const found = parsed(text);
  return typeof found === "object" && found !== null && !Array.isArray(found);
}

function parsed(text: Value | undefined): unknown {
  try {
    return JSON.parse(String(text));
  } catch {
    return undefined;
  }
}

function isKey(table: Table, key: string): boolean {
  try {
    return keyValues(table, key).length === table.key.length;
  } catch {
    return key.includes("\\"); // one that was no text, as sealing spells it
  }
}
