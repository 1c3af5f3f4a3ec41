/**
 * Applying an answer: outcomes, rows, removals and checkpoint, in one local transaction.
 *
 * Knows: messages and the replica's tables. Must not know: HTTP, or when the next exchange is.
 * Upholds I6, I10, I14, I15, I16, I24, I25 and I32.
 *
 * Order: outcomes decide which transactions are no longer in the overlay; news are written as server
 * truth; rows of decided transactions that the news do not mention fall back to the truth known
 * before; then what is left of the outbox is replayed on the rows that were touched.
 */

import { ConstraintFailed, FileRefused, Offline } from "../../core/errors.js";
import { byCodePoint, type Row } from "../../core/keys.js";
import type { Table } from "../../core/schema.js";
import type {
  Checkpoint,
  Gone,
  Head,
  Outcome,
  Own,
  Rows,
  Transaction,
} from "../../protocol/messages.generated.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";
import type { Host } from "../host.js";
import { countAgain } from "../identity/history.js";
import {
  awaited,
  forgetRows,
  giveUp,
  keep,
  offeredIds,
  putBack,
  settleKept,
} from "../identity/kept.js";
import { type AttachedFile, Importer, type TruthWriter } from "../load/importFiles.js";
import { Members, type Truth } from "../storage/members.js";
import { NotedKeys, notedTables } from "../storage/noted.js";
import { anyUnsettled } from "../storage/waiting.js";
import { Overlay } from "./overlay.js";
import type { Program } from "../storage/program.js";
import { Replay } from "./replay.js";
import { messagesOf } from "../changes/outbox.js";
import { seal } from "../changes/seal.js";
import { broken, checkKey, decodeRow } from "./wireRows.js";

/** Changes made by an answer. `differing`: scopes whose digests do not agree afterwards. */
export interface Applied {
  applied: number;
  refused: number;
  held: number;
  rows: number;
  removed: number;
  /** Scopes that the device may not read any more. */
  lost: number;
  differing: string[];
}

const NOBODY: ReadonlySet<number> = new Set();
const NOTHING: ReadonlyMap<number, Transaction> = new Map();

/** Applies one answer inside a write transaction that the caller holds. */
export class Applier implements TruthWriter {
  readonly #database: LocalDatabase;
  readonly #db: Connection;
  readonly #program: Program;
  readonly #host: Host;
  readonly #nowUs: number;
  readonly #members: Members;
  readonly #overlays: ReadonlyMap<string, Overlay>;
  /** The tables with notes or shadows. */
  #noted: readonly Table[] = [];
  /** By table: keys with unsettled changes; keys of this answer; keys to replay; keys with shadows. */
  readonly #left = new Map<string, NotedKeys>();
  readonly #fresh = new Map<string, Set<string>>();
  readonly #again = new Map<string, Set<string>>();
  /** By table: keys of rows that news removed, while anything is unsettled. */
  readonly #removed = new Map<string, Set<string>>();
  #hasWork = false;
  readonly #shadowed = new Map<string, NotedKeys>();
  /** By table: keys of which some change is set aside, refused or held. */
  readonly #unplain = new Map<string, Set<string>>();
  readonly #acked = new Set<number>();
  /** What was sent with the request, by number. */
  readonly #sent: ReadonlyMap<number, Transaction>;
  /** By table: keys of changes that are settled now; only for files. */
  #deciding: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  readonly #result: Applied = {
    applied: 0,
    refused: 0,
    held: 0,
    rows: 0,
    removed: 0,
    lost: 0,
    differing: [],
  };

  constructor(
    database: LocalDatabase,
    host: Host,
    sent: ReadonlyMap<number, Transaction> = NOTHING,
  ) {
    this.#sent = sent;
    this.#database = database;
    this.#host = host;
    this.#db = database.connection;
    this.#program = database.program;
    this.#nowUs = host.nowUs();
    this.#members = new Members(database);
    this.#overlays = new Map(
      this.#program.tables.map((table) => [
        table.name,
        new Overlay(this.#db, table, this.#program.statements(table)),
      ]),
    );
    const nothing = new NotedKeys(this.#db);
    for (const { name } of this.#program.tables) {
      this.#left.set(name, nothing);
      this.#shadowed.set(name, nothing);
      this.#fresh.set(name, new Set());
      this.#again.set(name, new Set());
      this.#removed.set(name, new Set());
    }
  }

  /** Take in a whole answer, and before its lines the files it builds on (`filed`: the lines of those
   * that have lines), in steps: each yields how many rows of files are in. Throws `Offline` (`broken_answer`) when it makes no sense, or
   * `FileRefused`. */
  *apply(
    head: Head,
    lines: Iterable<Rows | Own | Gone>,
    checkpoint: Checkpoint,
    files: readonly AttachedFile[] = [],
    filed: Iterable<Rows | Gone> = [],
  ): Generator<number, Applied, void> {
    const granted = new Set(Object.keys(head.scopes));
    const reached = Object.keys(checkpoint.scopes);
    if (reached.length !== granted.size || !reached.every((scope) => granted.has(scope)))
      throw broken("its checkpoint names other scopes than its head");
    seal(this.#database, this.#host);
    const decided = this.#decide(head.outcomes ?? []);
    this.#database.writeState({ applying: 1n });
    this.#collect();
    // Server truth never fails to apply.
    this.#database.checked((head.generation ?? 0) <= (this.#program.json.schema.generation ?? 1));
    this.#members.grant(head.scopes);
    for (const scope of this.#members.scopes) if (!granted.has(scope)) this.#lose(scope);
    const importer = new Importer(this.#db, this.#program, this.#members, this);
    if (files.length > 0) this.#deciding = this.#touchedBy(decided);
    for (const one of files)
      if (granted.has(one.file.scope)) {
        // It may have been taken away meanwhile.
        yield* importer.run(one);
        this.#result.rows += one.file.rows;
      }
    for (const line of filed) {
      this.#filedNews(line, decided);
      yield importer.took(line.type === "rows" ? line.rows.length : line.keys.length);
    }
    for (const line of lines) this.#news(line, decided);
    importer.settle();
    this.#fallBack(decided);
    this.#database.checked(true);
    this.#replay(decided);
    this.#forget();
    giveUp(this.#database, head.backed_up ?? 0, this.#nowUs);
    this.#result.differing = this.#members.finish(checkpoint.scopes);
    this.#database.writeState({ applying: 0n });
    return this.#result;
  }

  // --- outcomes ----------------------------------------------------------------------------------

  /** Record outcomes; the numbers they settle now. Names that are not ours are ignored. */
  #decide(outcomes: readonly Outcome[]): ReadonlySet<number> {
    if (outcomes.length === 0) return NOBODY;
    const numbers = outcomes.map(({ number }) => number);
    const [first, last] = [Math.min(...numbers), Math.max(...numbers)];
    const ids = new Map(
      this.#db
        .execute(this.#program.bookkeeping.transactions.unsettled_ids, [
          BigInt(first),
          BigInt(last),
        ])
        .map(([number, id]) => [whole(number), String(id)]),
    );
    const kept = offeredIds(this.#database, first, last);
    const [originLast] = this.#database.state("origin_last");
    const { identity } = this.#program.bookkeeping;
    const restored = whole(this.#db.execute(identity.made_before_restore)[0]?.[0]);
    const again = { resent: 0, alreadyThere: 0, toInbox: 0 };
    const decided = new Set<number>();
    let confirmed = 0;
    for (const told of outcomes) {
      const { number, id } = told;
      const isKept = kept.get(number) === id;
      const waits = isKept || (number <= restored && told.known !== true);
      const outcome = waits ? awaited(told) : told;
      if (!isKept && ids.get(number) !== id) continue;
      confirmed = Math.max(confirmed, number);
      if (number <= whole(originLast)) {
        again.resent += 1;
        if (outcome.known === true) again.alreadyThere += 1;
        if (outcome.outcome !== "applied") again.toInbox += 1;
      }
      if (isKept) {
        kept.delete(number);
        this.#result[outcome.outcome] += 1;
        if (outcome.outcome === "applied") {
          settleKept(this.#database, number);
          continue;
        }
        putBack(this.#database, number);
      }
      this.#db.execute(this.#program.bookkeeping.transactions.decide, [
        outcome.outcome === "applied" ? "acked" : outcome.outcome,
        outcome.code ?? "",
        outcome.message ?? "",
        outcome.field ?? "",
        BigInt(outcome.held_by ?? 0),
        BigInt(this.#nowUs),
        outcome.outcome,
        BigInt(outcome.number),
      ]);
      if (!decided.has(outcome.number) && (outcome.impossible ?? 0) > 0)
        // Our revisions of those rows are damaged; the rows come with this answer.
        this.#db.execute(this.#program.bookkeeping.state.add_mismatches, [
          BigInt(outcome.impossible ?? 0),
        ]);
      if (isKept) continue; // the rows that it has changed come with this answer
      if (!decided.has(outcome.number)) this.#result[outcome.outcome] += 1;
      decided.add(outcome.number);
      if (outcome.outcome === "applied") this.#acked.add(outcome.number);
    }
    const [before] = this.#database.state("confirmed");
    if (confirmed > whole(before)) this.#database.writeState({ confirmed: BigInt(confirmed) });
    countAgain(this.#database, again);
    return decided;
  }

  /** Collect where unsettled changes and shadows are, and what is set aside. */
  #collect(): void {
    const unsettled = anyUnsettled(this.#database);
    this.#hasWork = unsettled;
    this.#noted = notedTables(this.#db, this.#program, true);
    for (const table of this.#noted) {
      const sql = this.#program.statements(table);
      if (unsettled) {
        const held = this.#db.execute(sql.aside_keys).map(([key]) => String(key));
        this.#left.set(
          table.name,
          new NotedKeys(this.#db, sql.unsettled_keys, sql.unsettled_among),
        );
        this.#again.set(table.name, new Set(held));
      }
      this.#shadowed.set(table.name, new NotedKeys(this.#db, sql.shadow_keys, sql.shadows_among));
    }
  }

  /** Find out at once what stands on the rows of a line. */
  #look(table: Table, keys: Iterable<string>): void {
    this.#left.get(table.name)?.look(keys);
    this.#shadowed.get(table.name)?.look(keys);
  }

  // --- news --------------------------------------------------------------------------------------

  /** A line of a file that cannot be used is the file's fault: the rows are to come in the answer. */
  #filedNews(line: Rows | Gone, decided: ReadonlySet<number>): void {
    try {
      this.#news(line, decided);
    } catch (error) {
      const unusable = error instanceof Offline || error instanceof ConstraintFailed;
      throw unusable ? new FileRefused(`a line of it: ${error.message}`) : error;
    }
  }

  #news(line: Rows | Own | Gone, decided: ReadonlySet<number>): void {
    const table = this.#program.byName.get(line.table);
    if (table === undefined) throw broken(`unknown table ${line.table}`);
    if (line.type === "own") {
      this.#own(table, line, decided);
      return;
    }
    if (line.type === "gone") {
      this.#look(table, line.keys);
      for (const key of line.keys) {
        checkKey(table, key);
        this.#members.remove(table, key);
        this.#truth(table, key, null);
        this.#result.removed += 1;
      }
      return;
    }
    // Each key once, at its latest.
    const rows = [
      ...new Map(
        line.rows.map((wire) => decodeRow(table, wire)).map((row) => [row.key, row]),
      ).values(),
    ];
    this.#look(
      table,
      rows.map(({ key }) => key),
    );
    const fresh = this.#fresh.get(table.name);
    this.#members.put(
      table,
      rows,
      rows.some(({ key }) => fresh?.has(key)),
    );
    for (const { key, row } of rows) this.#truth(table, key, row);
    this.#result.rows += rows.length;
  }

  /** Rows that are what we have made of them: they stay, and are the server's from now on. Where
   * nothing else stands on a row, the table shows it already. Should it not be what the server has,
   * the digests will tell. */
  #own(table: Table, line: Own, decided: ReadonlySet<number>): void {
    if (line.keys.length !== line.revs.length)
      throw broken(`own rows of ${table.name} without their revisions`);
    const { name } = table;
    const revs = new Map(line.keys.map((key, at) => [key, line.revs[at] ?? 0]));
    const sql = this.#program.statements(table);
    let unplain = this.#unplain.get(name);
    if (unplain === undefined) {
      unplain = new Set(this.#db.execute(sql.unplain_keys).map(([key]) => String(key)));
      this.#unplain.set(name, unplain);
    }
    const stands = unplain;
    this.#look(table, revs.keys());
    const isApart = (key: string): boolean =>
      stands.has(key) || this.#left.get(name)?.has(key) === true;
    const overlay = this.#overlay(table);
    const fresh = this.#fresh.get(name);
    const again = [...revs.keys()].some((key) => fresh?.has(key));
    const plain = [...revs.keys()].filter((key) => !isApart(key));
    const rows = overlay
      .visibleRows(plain)
      .map(([key, row]): Truth => ({ key, rev: revs.get(key) ?? 0, row }));
    this.#members.put(table, rows, again);
    for (const { key } of rows) fresh?.add(key);
    for (const key of plain)
      if (this.#shadowed.get(name)?.has(key)) this.#db.execute(sql.delete_shadow, [key]);
    for (const key of [...revs.keys()].filter(isApart).sort(byCodePoint)) {
      const row = overlay.made(key, decided, this.#acked);
      if (row === null) continue;
      this.#members.put(table, [{ key, rev: revs.get(key) ?? 0, row }], true);
      this.#truth(table, key, row);
    }
    this.#result.rows += revs.size;
  }

  /** Write server truth; the overlay of this row, if any, is replayed at the end. */
  #truth(table: Table, key: string, row: Row | null): void {
    const overlay = this.#overlay(table);
    this.#settleShadow(overlay, key, row);
    if (row !== null && table.unique.length > 0)
      for (const other of overlay.makeRoom(row))
        if (this.#left.get(table.name)?.has(other)) this.#again.get(table.name)?.add(other);
    if (row === null && this.#hasWork) this.#removed.get(table.name)?.add(key);
    overlay.write(key, row);
  }

  /** Keep server truth beside the row while changes of ours stand on it, and only then. */
  #settleShadow(overlay: Overlay, key: string, row: Row | null): void {
    const { name } = overlay.table;
    this.#fresh.get(name)?.add(key);
    if (this.#left.get(name)?.has(key)) {
      overlay.putShadow(key, row);
      this.#again.get(name)?.add(key);
    } else if (this.#shadowed.get(name)?.has(key)) {
      this.#db.execute(this.#program.statements(overlay.table).delete_shadow, [key]);
    }
  }

  #lose(scope: string): void {
    this.#result.lost += 1;
    const lost = [...this.#members.lose(scope)];
    forgetRows(this.#database, lost);
    for (const [name, key] of lost) {
      const table = this.#program.byName.get(name);
      if (table === undefined) continue;
      this.#db.execute(this.#program.bookkeeping.rows.remove, [name, key]);
      this.#truth(table, key, null);
      this.#result.removed += 1;
    }
  }

  // --- what whole files need of it -----------------------------------------------------------------

  touched(table: Table): ReadonlySet<string> {
    const of = (sets: ReadonlyMap<string, NotedKeys>): string[] => [
      ...(sets.get(table.name)?.all() ?? []),
    ];
    const deciding = this.#deciding.get(table.name) ?? [];
    return new Set([...of(this.#left), ...of(this.#shadowed), ...deciding]);
  }

  pending(table: Table, key: string): boolean {
    return this.#left.get(table.name)?.has(key) === true;
  }

  put(table: Table, rows: readonly Truth[]): void {
    this.#members.put(table, rows, true);
    for (const { key, row } of rows) this.#truth(table, key, row);
  }

  leave(table: Table, key: string): void {
    this.#members.remove(table, key);
    this.#truth(table, key, null);
    this.#result.removed += 1;
  }

  standing(table: Table, row: Row): (readonly [string, Row | null])[] {
    const overlay = this.#overlay(table);
    return overlay.colliding(row).map((key) => [key, overlay.visible(key)] as const);
  }

  visible(table: Table, key: string): Row | null {
    return this.#overlay(table).visible(key);
  }

  // --- the overlay -------------------------------------------------------------------------------

  #overlay(table: Table): Overlay {
    return this.#overlays.get(table.name) as Overlay;
  }

  /** By table: keys that transactions which are settled now have changed. */
  #touchedBy(decided: ReadonlySet<number>): Map<string, ReadonlySet<string>> {
    const touched = new Map<string, ReadonlySet<string>>();
    if (decided.size === 0) return touched;
    const between = [BigInt(Math.min(...decided)), BigInt(Math.max(...decided))];
    for (const table of this.#noted) {
      const found = this.#db.execute(this.#program.statements(table).touched_keys, between);
      const settled = found.filter(([number]) => decided.has(whole(number)));
      touched.set(table.name, new Set(settled.map(([, key]) => String(key))));
    }
    return touched;
  }

  /** Rows of decided transactions that the news did not mention: the truth known before. */
  #fallBack(decided: ReadonlySet<number>): void {
    for (const [name, keys] of this.#touchedBy(decided)) {
      const table = this.#program.byName.get(name) as Table;
      const overlay = this.#overlay(table);
      const fresh = this.#fresh.get(name);
      const left = this.#left.get(name);
      const falling = new Set([...keys].filter((key) => !fresh?.has(key)));
      this.#look(table, falling);
      for (const key of [...falling].sort(byCodePoint)) {
        let truth = overlay.truth(key, decided);
        const standing = truth === null ? [] : overlay.colliding(truth);
        if (standing.some((other) => !falling.has(other) && !left?.has(other))) {
          // Its values are another row's by now: its removal was forgotten while we were away. The
          // digests will say so too.
          truth = null;
          this.#members.remove(table, key);
        }
        this.#truth(table, key, truth);
      }
    }
  }

  #replay(decided: ReadonlySet<number>): void {
    if (this.#hasWork)
      new Replay(this.#database, this.#overlays, decided).run(this.#again, this.#removed);
  }

  /** What is acknowledged is kept as it was sent, until a backup of the server has it. */
  #keep(): void {
    const unsent = new Set([...this.#acked].filter((number) => !this.#sent.has(number)));
    const made = messagesOf(this.#database, unsent);
    const span = [BigInt(Math.min(...this.#acked)), BigInt(Math.max(...this.#acked))];
    const heads = this.#db.execute(this.#program.bookkeeping.transactions.heads, span);
    for (const head of heads) {
      const number = whole(head[0]);
      const message = this.#sent.get(number) ?? made.get(number);
      if (message === undefined || !this.#acked.has(number)) continue;
      keep(this.#database, message, whole(head[6]), this.#nowUs);
    }
  }

  /** Acknowledged transactions whose checkpoint is applied leave the outbox. */
  #forget(): void {
    if (this.#acked.size === 0) return;
    this.#keep();
    const span = [BigInt(Math.min(...this.#acked)), BigInt(Math.max(...this.#acked))];
    for (const table of this.#noted)
      this.#db.execute(this.#program.statements(table).delete_acked, span);
    this.#db.execute(this.#program.bookkeeping.transactions.remove_acked, span);
  }
}
