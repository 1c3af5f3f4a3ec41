/**
 * Which rows belong to which scope, with their hashes, and each scope's running digest.
 *
 * Knows: hashes and scopes of server truth. Must not know: the overlay (pending work does not count).
 * Upholds I12's proof: digests are kept in O(changes) and compared after every exchange.
 */

import { Digest, HASH_BYTES, rowHash } from "../../core/digest.js";
import { AttentionNeeded, Offline } from "../../core/errors.js";
import { byCodePoint, type Row, rowScopes } from "../../core/keys.js";
import type { Table } from "../../core/schema.js";
import { fromHex, toHex } from "../../core/values.js";
import type { Position, ScopeGrant } from "../../protocol/messages.generated.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "./database.js";
import type { Bookkeeping } from "./program.js";

/** Server truth of a row: its key, revision and values. */
export interface Truth {
  readonly key: string;
  readonly rev: number;
  readonly row: Row;
}

const NONE = "0".repeat(32);

/** The key to the hashes of a scope's rows; null when the replica does not know it. */
export function hashKeyOf(
  { connection, bookkeeping }: LocalDatabase,
  scope: string,
): Uint8Array | null {
  const [[key] = []] = connection.execute(bookkeeping.scopes.hash_key, [scope]);
  return key instanceof Uint8Array ? key : null;
}

/** The members of all scopes of a replica, within one write transaction. */
export class Members {
  readonly #db: Connection;
  readonly #sql: Bookkeeping;
  readonly #keys = new Map<string, Uint8Array>();
  readonly #digests = new Map<string, Digest>();
  /** Whether a server that was restored answers: a scope that it lost may have another key now. */
  readonly #isAnew: boolean;
  #empty: boolean;

  constructor(database: LocalDatabase) {
    const { connection: db, bookkeeping } = database;
    this.#db = db;
    this.#sql = bookkeeping;
    this.#isAnew = database.texts("epoch")[0] === "";
    for (const [scope, key, count, digest] of db.execute(this.#sql.scopes.digests)) {
      this.#keys.set(String(scope), key instanceof Uint8Array ? key : new Uint8Array());
      this.#digests.set(String(scope), Digest.of(whole(count), String(digest)));
    }
    this.#empty = db.execute(this.#sql.members.any).length === 0;
  }

  get scopes(): string[] {
    return [...this.#keys.keys()].sort(byCodePoint);
  }

  /** Take in the scopes the device may read now. */
  grant(grants: Readonly<Record<string, ScopeGrant>>): void {
    for (const [scope, grant] of Object.entries(grants)) {
      const known = this.#keys.get(scope);
      if (grant.key === "" && known === undefined)
        throw new Offline(`the answer has no key of scope ${scope}`, "broken_answer");
      const key = grant.key === "" && known !== undefined ? known : fromHex(grant.key);
      if (known !== undefined && toHex(known) !== toHex(key)) {
        if (!this.#isAnew)
          throw new AttentionNeeded(
            `the server's history of scope ${scope} has changed`,
            "epoch_mismatch",
          );
        this.#beginAnew(scope);
        this.#keys.set(scope, key);
      }
      if (known === undefined) {
        this.#keys.set(scope, key);
        this.#digests.set(scope, new Digest());
      }
      this.#db.execute(this.#sql.scopes.grant, [scope, NONE, NONE, key, grant.write ? 1n : 0n]);
    }
  }

  /** Keep a scope's rows, with hashes that no row has: each is looked at, and none is lost. */
  #beginAnew(scope: string): void {
    const rows = this.#db.execute(this.#sql.members.from_position, [scope, "", ""]);
    const nothing = new Uint8Array(HASH_BYTES);
    for (const [table, key] of rows)
      this.#db.execute(this.#sql.members.put, [scope, table ?? null, key ?? null, nothing]);
    this.#digests.set(scope, Digest.of(rows.length, NONE));
    this.#db.execute(this.#sql.scopes.remove, [scope]);
  }

  /** Forget a scope; returns the rows (table, key) that are in no other scope. */
  lose(scope: string): (readonly [string, string])[] {
    this.#db.execute(this.#sql.scopes.remove, [scope]);
    const rows = this.#db.execute(this.#sql.members.only_of_scope, [scope]);
    this.#db.execute(this.#sql.members.remove_scope, [scope]);
    this.#keys.delete(scope);
    this.#digests.delete(scope);
    return rows.map(([table, key]) => [String(table), String(key)] as const);
  }

  /** Server truth of rows, each key once. `again`: this answer has named some of them before. */
  put(table: Table, rows: readonly Truth[], again: boolean): void {
    const before: ReadonlyMap<string, Map<string, Uint8Array>> = this.#empty && !again
      ? new Map()
      : this.#known(table, rows);
    const added = new Map<string, Uint8Array[]>();
    const removed = new Map<string, Uint8Array[]>();
    const note = (to: Map<string, Uint8Array[]>, scope: string, hash: Uint8Array): void => {
      const list = to.get(scope);
      if (list === undefined) to.set(scope, [hash]);
      else list.push(hash);
    };
    for (const { key, rev, row } of rows) {
      const old = before.get(key) ?? new Map<string, Uint8Array>();
      this.#db.execute(this.#sql.rows.put, [table.name, key, BigInt(rev)]);
      for (const scope of rowScopes(table, row)) {
        const hashKey = this.#keys.get(scope);
        if (hashKey === undefined) continue;
        const hash = rowHash(hashKey, table.name, key, row);
        note(added, scope, hash);
        const previous = old.get(scope);
        if (previous !== undefined) note(removed, scope, previous);
        old.delete(scope);
        this.#db.execute(this.#sql.members.put, [scope, table.name, key, hash]);
      }
      for (const [scope, hash] of old) {
        note(removed, scope, hash);
        this.#db.execute(this.#sql.members.remove, [scope, table.name, key]);
      }
    }
    for (const [scope, digest] of this.#digests)
      if (added.has(scope) || removed.has(scope))
        this.#digests.set(scope, digest.replace(removed.get(scope) ?? [], added.get(scope) ?? []));
  }

  /** By key: the scopes that list the row, and its hash there. */
  #known(table: Table, rows: readonly Truth[]): Map<string, Map<string, Uint8Array>> {
    const found = new Map<string, Map<string, Uint8Array>>();
    for (const [key, scope, hash] of this.#db.execute(this.#sql.members.of_rows, [
      JSON.stringify(rows.map((row) => row.key)),
      table.name,
    ])) {
      if (!(hash instanceof Uint8Array)) continue;
      const scopes = found.get(String(key)) ?? new Map<string, Uint8Array>();
      found.set(String(key), scopes.set(String(scope), hash));
    }
    return found;
  }

  /** The row is in none of our scopes any more. */
  remove(table: Table, key: string): void {
    for (const [scope, hash] of this.#db.execute(this.#sql.members.of_row, [table.name, key])) {
      const digest = this.#digests.get(String(scope));
      if (digest !== undefined && hash instanceof Uint8Array)
        this.#digests.set(String(scope), digest.remove(hash));
    }
    this.#db.execute(this.#sql.members.remove_row, [table.name, key]);
    this.#db.execute(this.#sql.rows.remove, [table.name, key]);
  }

  // --- of whole files ------------------------------------------------------------------------------

  /** Return whether any row is a member of the scope. */
  holds(scope: string): boolean {
    const sql = this.#sql.members.any_of_scope;
    return this.#db.execute(sql, [scope]).length > 0;
  }

  /** Members were copied into the scope: how many, and the sum of their hashes. */
  addSum(scope: string, count: number, total: bigint): void {
    this.#empty = false;
    const digest = this.#digests.get(scope);
    if (digest !== undefined) this.#digests.set(scope, digest.withSum(count, total));
  }

  /** A row is not in this scope any more; whether it is in none of ours now. */
  part(scope: string, table: Table, key: string): boolean {
    const place = [scope, table.name, key];
    for (const [hash] of this.#db.execute(this.#sql.members.hash, place)) {
      const digest = this.#digests.get(scope);
      if (digest !== undefined && hash instanceof Uint8Array)
        this.#digests.set(scope, digest.remove(hash));
    }
    this.#db.execute(this.#sql.members.remove, place);
    const rest = this.#sql.members.any_of_row;
    return this.#db.execute(rest, [table.name, key]).length === 0;
  }

  /** Store digests and the server's checkpoint; returns the scopes that differ. */
  finish(positions: Readonly<Record<string, Position>>): string[] {
    const differing: string[] = [];
    for (const [scope, digest] of this.#digests) {
      const position = positions[scope];
      if (position === undefined) continue;
      const differs = digest.count !== position.count || digest.hex !== position.digest;
      this.#db.execute(this.#sql.scopes.finish, [
        BigInt(position.version),
        position.seal,
        BigInt(position.count),
        position.digest,
        BigInt(digest.count),
        digest.hex,
        differs ? 1n : 0n,
        scope,
      ]);
      if (differs) differing.push(scope);
    }
    return differing.sort(byCodePoint);
  }
}
