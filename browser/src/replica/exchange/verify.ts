/**
 * Verification: does the replica hold what the server holds, and is the stored data itself sound?
 *
 * Knows: digests of ranges. Must not know: HTTP.
 * Upholds I36. A deep check recomputes every row's hash; a comparison narrows a difference by ranges
 * of keys until single rows are left; only those are fetched, and pending work is left alone. Each
 * answer carries the complete catch-up of the same server snapshot, applied before comparing.
 */

import { Digest, revisionsHex, rowHash } from "../../core/digest.js";
import { BadValue, SyncError } from "../../core/errors.js";
import { byCodePoint, type Row, rowKey, rowScopes } from "../../core/keys.js";
import {
  VERIFY_CONTINUED_MAX,
  VERIFY_RANGES_MAX,
  VERIFY_ROUNDS_MAX,
  VERIFY_ROWS_MAX,
} from "../../core/limits.js";
import type { Table } from "../../core/schema.js";
import { same, toHex, type Value } from "../../core/values.js";
import type {
  RangeAnswer,
  RangeDigest,
  RangeQuery,
  RowQuery,
} from "../../protocol/messages.generated.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";
import { differing } from "./checkpoint.js";
import type { Exchanger } from "./exchanger.js";
import type { Host } from "../host.js";
import { SetAside } from "../storage/aside.js";
import { Overlay } from "../rebase/overlay.js";
import { Replay, shown } from "../rebase/replay.js";
import { openKeys, seal } from "../changes/seal.js";
import type { Exchanged } from "./storeAnswer.js";
import type { MutexTurn } from "../mutex.js";
import type { Bookkeeping } from "../storage/program.js";

/** A scope after verification: both sides' count of rows and digest (32 hex digits). */
export interface ScopeCheck {
  readonly scope: string;
  readonly count: number;
  readonly digest: string;
  readonly serverCount: number;
  readonly serverDigest: string;
}

export interface VerifyReport {
  /** Nothing differs now. */
  readonly ok: boolean;
  readonly scopes: readonly ScopeCheck[];
  readonly rowsChecked: number;
  /** Rows found unsound in the local file, as table and key. */
  readonly damaged: readonly (readonly [string, string])[];
  /** Rows fetched again from the server, or shown again from what is stored. */
  readonly repaired: number;
  readonly rounds: number;
  readonly mismatched: readonly string[];
}

interface Differences {
  readonly ranges: readonly RangeQuery[];
  readonly rows: readonly RowQuery[];
  readonly misnumbered: readonly RowQuery[];
}

export type Known = Map<string, Map<string, string>>;
interface Checked {
  readonly rows: number;
  readonly damaged: RowQuery[];
  /** By table, keys of rows with pending work that do not show what they should. */
  readonly hidden: Map<string, Set<string>>;
}

export class Verifier {
  readonly #database: LocalDatabase;
  readonly #db: Connection;
  readonly #exchanger: Exchanger;
  readonly #host: Host;
  readonly #turn: MutexTurn;

  constructor(database: LocalDatabase, exchanger: Exchanger, host: Host, turn: MutexTurn) {
    this.#database = database;
    this.#db = database.connection;
    this.#exchanger = exchanger;
    this.#host = host;
    this.#turn = turn;
  }

  get #sql(): Bookkeeping {
    return this.#database.bookkeeping;
  }

  /** Check, compare and repair. Throws `SyncError` when the server cannot be asked. */
  verify(deep: boolean): Promise<VerifyReport> {
    return this.#exchanger.alone(() => this.#verify(deep));
  }

  async #verify(deep: boolean): Promise<VerifyReport> {
    const checked = await this.#turn(() =>
      this.#database.atWork(() => {
        this.#database.connection.transaction(() => seal(this.#database, this.#host));
        const none: Checked = { rows: 0, damaged: [], hidden: new Map() };
        const found = deep ? this.#deepCheck() : none;
        this.#showAgain(found.hidden);
        return found;
      }),
    );
    let wanted = [...checked.damaged];
    let queries: RangeQuery[] = deep ? await this.#turn(() => this.#everyScope()) : [];
    const misnumbered = new Map<string, readonly [string, string]>();
    /** Scopes that differ though nothing is wrong: the server has lost what was seen of them, and
     * what came instead may be the same under another revision. */
    let expected: ReadonlySet<string> | undefined;
    const renumbered = new Set<string>();
    let [repaired, rounds, continued] = [0, 0, 0];
    for (const keys of checked.hidden.values()) repaired += keys.size;
    const suspects = new Set<string>();
    while (rounds - continued < VERIFY_ROUNDS_MAX) {
      const asked = wanted.splice(0, VERIFY_ROWS_MAX);
      const now = queries.splice(0, VERIFY_RANGES_MAX);
      rounds += 1;
      let answer: Exchanged;
      try {
        answer = await this.#exchanger.verify(now, asked);
      } catch (error) {
        if (!(error instanceof SyncError) || error.code !== "sync_elsewhere") throw error;
        queries = [...now, ...queries];
        wanted = [...asked, ...wanted];
        continue;
      }
      const behind = (expected ??= answer.expected);
      repaired += asked.length;
      const rest = unseen(now, answer.ranges);
      queries = [...rest, ...queries];
      if (rest.length > 0 && continued < VERIFY_CONTINUED_MAX) continued += 1;
      const fresh = await this.#turn(() =>
        this.#database.atWork(() => {
          for (const found of answer.ranges) {
            const narrower = this.#compare(found);
            queries.push(...narrower.ranges);
            wanted.push(...narrower.rows);
            for (const { table, key } of narrower.misnumbered) {
              const place = JSON.stringify([table, key]);
              if (behind.has(found.scope)) renumbered.add(place);
              if (!checked.damaged.some((one) => one.table === table && one.key === key))
                misnumbered.set(place, [table, key]);
            }
          }
          if (queries.length > 0 || wanted.length > 0) return null;
          const differing = answer.applied.differing.filter((scope) => !suspects.has(scope));
          // The sum itself may be what is wrong.
          if (differing.length > 0) this.#db.transaction(() => this.#sumUp(differing));
          return differing;
        }),
      );
      if (fresh === null) continue;
      if (fresh.length === 0) break;
      for (const scope of fresh) suspects.add(scope);
      queries = fresh.map((scope) => ({ scope }));
    }
    for (const place of renumbered) misnumbered.delete(place);
    if (misnumbered.size > 0)
      await this.#turn(() =>
        this.#database.atWork(() => this.#db.execute(this.#sql.state.add_mismatches, [1n])),
      );
    const scopes = await this.#turn(() => this.scopes());
    const hidden = [...checked.hidden].flatMap(([table, keys]) =>
      [...keys].sort(byCodePoint).map((key) => [table, key] as const),
    );
    return {
      ok: scopes.every((one) => one.count === one.serverCount && one.digest === one.serverDigest),
      scopes,
      rowsChecked: checked.rows,
      damaged: [
        ...checked.damaged.map(({ table, key }) => [table, key] as const),
        ...misnumbered.values(),
        ...hidden,
      ],
      repaired,
      rounds,
      mismatched: [...suspects].sort(byCodePoint),
    };
  }

  /** Both sides' digests as of the last answer. */
  scopes(): ScopeCheck[] {
    return this.#db
      .execute(this.#sql.scopes.both_digests)
      .map(([scope, count, digest, serverCount, serverDigest]) => ({
        scope: String(scope),
        count: whole(count),
        digest: String(digest),
        serverCount: whole(serverCount),
        serverDigest: String(serverDigest),
      }));
  }

  // --- the stored data itself --------------------------------------------------------------------

  /** Recompute every row's hashes; rows whose stored data is not what was applied, that are missing,
   * or that nobody knows. */
  #deepCheck(): Checked {
    const result: Checked = { rows: 0, damaged: [], hidden: new Map() };
    const scopeKeys = new Map(
      this.#db
        .execute(this.#sql.scopes.digests)
        .map(([scope, key]) => [String(scope), key instanceof Uint8Array ? key : new Uint8Array()]),
    );
    let rows = 0;
    for (const table of this.#database.program.tables)
      rows += this.#checkTable(table, scopeKeys, result);
    // What is fetched again is replayed again, too.
    for (const { table, key } of result.damaged) result.hidden.get(table)?.delete(key);
    if (result.damaged.length > 0)
      this.#db.transaction(() => {
        for (const { table, key } of result.damaged)
          this.#db.execute(this.#sql.members.forget_hash, [table, key]);
        this.#sumUp([...scopeKeys.keys()]);
        this.#db.execute(this.#sql.state.add_mismatches, [1n]);
      });
    return { ...result, rows };
  }

  #checkTable(table: Table, scopeKeys: ReadonlyMap<string, Uint8Array>, result: Checked): number {
    const sql = this.#database.program.statements(table);
    const overlay = new Overlay(this.#db, table, sql);
    const changed = this.#keys(sql.unsettled_keys);
    const fresh = openKeys(this.#database, table);
    const known = this.#known(table.name);
    const behind = differing(this.#database);
    const revised = this.#keys(this.#sql.rows.keys, table.name);
    const bare = new Set(
      [...known.keys(), ...revised].filter((key) => known.has(key) !== revised.has(key)),
    );
    const damage = (key: string): void => void result.damaged.push({ table: table.name, key });
    [...bare].sort(byCodePoint).forEach(damage);
    const rows = this.#db.execute(sql.all_rows);
    for (const row of rows) {
      this.#database.working();
      const key = rowKey(table, row);
      if (changed.has(key) || fresh.has(key)) continue;
      if (!bare.has(key) && !sound(table, scopeKeys, key, row, known, behind)) damage(key);
      known.delete(key);
    }
    const aside = new SetAside(this.#database).before;
    const hidden = new Set(aside.keys());
    const wrong = [...changed].filter(
      (key) => !fresh.has(key) && !equal(overlay.visible(key), shown(overlay, key, hidden)),
    );
    if (wrong.length > 0) result.hidden.set(table.name, new Set(wrong));
    for (const key of known.keys()) {
      if (fresh.has(key) || bare.has(key)) continue;
      const truth = changed.has(key) ? overlay.truth(key, new Set()) : null;
      if (truth === null || !sound(table, scopeKeys, key, truth, known, behind)) damage(key);
    }
    return rows.length;
  }

  #keys(sql: string, ...params: Value[]): Set<string> {
    return new Set(this.#db.execute(sql, params).map(([key]) => String(key)));
  }

  #known(table: string): Known {
    const known: Known = new Map();
    for (const [scope, key, hash] of this.#db.execute(this.#sql.members.of_table, [table])) {
      const scopes = known.get(String(key)) ?? new Map<string, string>();
      known.set(
        String(key),
        scopes.set(String(scope), hash instanceof Uint8Array ? toHex(hash) : ""),
      );
    }
    return known;
  }

  /** Replay pending work on rows that do not show it. */
  #showAgain(hidden: ReadonlyMap<string, ReadonlySet<string>>): void {
    if (hidden.size === 0) return;
    this.#database.syncTransaction(() => {
      seal(this.#database, this.#host);
      this.#database.applying(() => {
        const { tables, statements } = this.#database.program;
        const overlays = new Map(
          tables.map((table) => [table.name, new Overlay(this.#db, table, statements(table))]),
        );
        new Replay(this.#database, overlays).run(hidden, new Map());
      });
    });
  }

  /** Compute the stored digests of scopes anew from their rows' hashes. */
  #sumUp(scopes: readonly string[]): void {
    for (const scope of scopes) {
      const own = this.#range(scope, "", null);
      this.#db.execute(this.#sql.scopes.set_digest, [BigInt(own.count), own.hex, scope]);
    }
  }

  // --- comparing with the server -----------------------------------------------------------------

  /** A digest over values says nothing of revisions, on which the server's decisions rest: a deep
   * check compares them too. */
  #everyScope(): RangeQuery[] {
    return this.#db
      .execute(this.#sql.scopes.names)
      .map(([scope]) => ({ scope: String(scope), revisions: true }));
  }

  /** This replica's digest of a range of positions (`table/key`). */
  #range(scope: string, start: string, end: string | null): Digest {
    return new Digest().replace(
      [],
      this.#members(scope, start, end).map((member) => member.hash),
    );
  }

  #members(scope: string, start: string, end: string | null) {
    const from = [scope, ...split(start)];
    const found =
      end === null
        ? this.#db.execute(this.#sql.members.from_position, from)
        : this.#db.execute(this.#sql.members.between_positions, [...from, ...split(end)]);
    return found.map(([table, key, hash, rev]) => ({
      table: String(table),
      key: String(key),
      hash: hash instanceof Uint8Array ? hash : new Uint8Array(),
      rev: typeof rev === "bigint" ? rev : 0n,
    }));
  }

  #differs(scope: string, part: RangeDigest): boolean {
    const rows = this.#members(scope, part.start, part.end);
    const hashes = rows.map(({ hash }) => hash);
    const own = new Digest().replace([], hashes);
    if (own.count !== part.count || own.hex !== part.digest) return true;
    const { revisions = "" } = part;
    return revisions !== "" && revisionsHex(rows) !== revisions;
  }

  /** Narrower ranges that differ, or the single rows that do, and those of them that have another
   * revision alone. */
  #compare(answer: RangeAnswer): Differences {
    const { scope, parts = [] } = answer;
    if (!this.#differs(scope, answer)) return { ranges: [], rows: [], misnumbered: [] };
    if (parts.length > 0) {
      const revisions = (answer.revisions ?? "") !== "";
      const ranges = parts
        .filter((part) => this.#differs(scope, part))
        .map(({ start, end }) => ({ scope, start, end, revisions }));
      return { ranges, rows: [], misnumbered: [] };
    }
    const name = (table: string, key: string): string => JSON.stringify([table, key]);
    const theirs = new Map(
      (answer.leaf ?? []).map(([table, key, rev, hash]) => [name(table, key), { hash, rev }]),
    );
    const mine = new Map(
      this.#members(scope, answer.start, answer.end).map(({ table, key, hash, rev }) => [
        name(table, key),
        { hash: toHex(hash), rev: Number(rev) },
      ]),
    );
    const rows: RowQuery[] = [];
    const misnumbered: RowQuery[] = [];
    for (const one of [...new Set([...theirs.keys(), ...mine.keys()])].sort(byCodePoint)) {
      const [there, here] = [theirs.get(one), mine.get(one)];
      if (there?.hash === here?.hash && there?.rev === here?.rev) continue;
      const [table, key] = JSON.parse(one) as [string, string];
      rows.push({ table, key });
      if (there?.hash === here?.hash) misnumbered.push({ table, key });
    }
    return { ranges: [], rows, misnumbered };
  }
}

/** Return whether a row is what was applied, in each of its scopes that the device has.
 *
 * `behind`: scopes that are still to be compared. A row of one may be there because its removal was
 * forgotten; then nobody has told of it in a scope that came later, and that is no damage. */
export function sound(
  table: Table,
  scopeKeys: ReadonlyMap<string, Uint8Array>,
  key: string,
  row: Row,
  known: Known,
  behind: ReadonlySet<string>,
): boolean {
  const stored = known.get(key) ?? new Map<string, string>();
  try {
    const hashes = new Map(
      rowScopes(table, row).flatMap((scope) => {
        const scopeKey = scopeKeys.get(scope);
        return scopeKey === undefined
          ? []
          : [[scope, toHex(rowHash(scopeKey, table.name, key, row))] as const];
      }),
    );
    if ([...stored].some(([scope, hash]) => hashes.get(scope) !== hash)) return false;
    if (hashes.size === stored.size) return hashes.size > 0;
    return [...stored.keys()].some((scope) => behind.has(scope));
  } catch (error) {
    if (error instanceof BadValue) return false;
    throw error;
  }
}

function equal(left: Row | null, right: Row | null): boolean {
  if (left === null || right === null) return left === right;
  return left.every((value, at) => same(value, right[at] ?? null));
}

/** Return what of the ranges the server has not looked at: it did as much as one request may cost. */
export function unseen(
  asked: readonly RangeQuery[],
  answers: readonly RangeAnswer[],
): RangeQuery[] {
  const place = (range: { scope: string; start?: string }): string =>
    JSON.stringify([range.scope, range.start ?? ""]);
  const ends = new Map(answers.map((answer) => [place(answer), answer.end ?? null]));
  return asked.flatMap((query): RangeQuery[] => {
    const end = ends.get(place(query));
    if (end === undefined) return [query];
    const whole = end === null || end === (query.end ?? null);
    return whole ? [] : [{ ...query, start: end }];
  });
}

/** A position as table and key; table names have no slash. */
function split(position: string): [string, string] {
  const slash = position.indexOf("/");
  return slash < 0 ? [position, ""] : [position.slice(0, slash), position.slice(slash + 1)];
}
