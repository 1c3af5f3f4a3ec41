/**
 * What a schema declares for a device alone (`local`), when it is declared anew: tables, indexes, views and
 * triggers that are never synced.
 *
 * Knows: the statements before and after. Must not know: what the app keeps in them.
 * What is said as before stays as it is. A table that is another now is made anew: one that triggers
 * write is a cache, and they fill it again as they do for news; of any other, which is the app's own data,
 * the columns that both have are copied.
 */

import { SchemaError } from "../../core/errors.js";
import type { Connection } from "../../sqlite/connection.js";
import type { Program } from "../storage/program.js";

type Kind = "table" | "index" | "view" | "trigger";

interface LocalObject {
  readonly kind: Kind;
  readonly name: string;
  readonly sql: string;
  /** Names of the tables that a trigger writes. */
  readonly writes: ReadonlySet<string>;
}

/** Both halves of the change: before the synced tables grow, and after that. */
export interface LocalChange {
  readonly drop: (db: Connection) => void;
  readonly make: (db: Connection, to: Program) => void;
}

const COMMENTS = /'(?:[^']|'')*'|\/\*[\s\S]*?\*\/|--[^\n]*/g;
const CREATE =
  /^\s*create\s+(?:unique\s+)?(virtual\s+table|table|index|view|trigger)\s+(?:if\s+not\s+exists\s+)?["'`[]?(\w+)/i;
const WRITES =
  /\b(?:insert\s+(?:or\s+\w+\s+)?into|replace\s+into|update(?:\s+or\s+\w+)?|delete\s+from)\s+["'`[]?(\w+)/gi;
const KEPT = "holdfast_kept_";

function read(sql: string): LocalObject {
  const plain = sql.replace(COMMENTS, (found) => (found.startsWith("'") ? found : " "));
  const [, kind, name] = CREATE.exec(plain) ?? [];
  if (kind === undefined || name === undefined)
    throw new SchemaError(`a local statement makes no table, index, view or trigger: ${sql}`);
  const last = kind.toLowerCase().split(/\s+/).at(-1) as Kind;
  const written = last === "trigger" ? [...plain.matchAll(WRITES)] : [];
  const writes = new Set(written.map((found) => (found[1] ?? "").toLowerCase()));
  return { kind: last, name, sql, writes };
}

/** Return what has to be done when `before` was declared, and `after` is now. */
export function localChange(before: readonly string[], after: readonly string[]): LocalChange {
  const old = before.map(read);
  const fresh = after.map(read);
  const isIn = (all: readonly LocalObject[], one: LocalObject): boolean =>
    all.some(({ name, sql }) => name === one.name && sql === one.sql);
  const isNamed = (all: readonly LocalObject[], one: LocalObject): boolean =>
    all.some(({ name }) => name === one.name);
  const triggers = fresh.filter(({ kind }) => kind === "trigger");
  const another = fresh.filter((one) => one.kind === "table" && !isIn(old, one));
  const caches = cachesOf(another, fresh, triggers);
  const isCache = ({ name }: LocalObject): boolean => caches.has(name.toLowerCase());
  const fills = triggers.filter(({ writes }) => [...writes].some((name) => caches.has(name)));
  const copied = another.filter((one) => isNamed(old, one) && !isCache(one));
  // An index goes with its table.
  const stays = (one: LocalObject): boolean =>
    one.kind === "table" ? isIn(fresh, one) && !isCache(one) : false;

  return {
    drop: (db) => {
      for (const kind of ["trigger", "view", "index"])
        for (const one of old)
          if (one.kind === kind)
            db.script(`DROP ${kind.toUpperCase()} IF EXISTS ${quoted(one.name)}`);
      for (const one of old) {
        if (one.kind !== "table" || stays(one)) continue;
        const isCopied = copied.some(({ name }) => name === one.name);
        const moved = `ALTER TABLE ${quoted(one.name)} RENAME TO ${quoted(KEPT + one.name)}`;
        if (!isCopied) db.script(`DROP TABLE IF EXISTS ${quoted(one.name)}`);
        else if (columns(db, one.name).length > 0) db.script(moved);
      }
    },
    make: (db, to) => {
      for (const one of fresh) {
        if (one.kind === "trigger") continue;
        if (!(stays(one) && isIn(old, one))) db.script(one.sql);
        if (copied.includes(one)) copy(db, one.name);
      }
      for (const one of fills) db.script(one.sql);
      if (fills.length > 0) fill(db, to, new Set(fills.map(({ name }) => name)));
      for (const one of triggers) if (!fills.includes(one)) db.script(one.sql);
    },
  };
}

/** Names of the tables to be filled again: those that are another now and written by triggers, and what
 * these triggers write besides, which would count twice. */
function cachesOf(
  another: readonly LocalObject[],
  fresh: readonly LocalObject[],
  triggers: readonly LocalObject[],
): Set<string> {
  const tables = new Set(
    fresh.filter(({ kind }) => kind === "table").map(({ name }) => name.toLowerCase()),
  );
  const changed = new Set(another.map(({ name }) => name.toLowerCase()));
  const caches = new Set<string>();
  for (let before = -1; before < caches.size;) {
    before = caches.size;
    for (const { writes } of triggers)
      if ([...writes].some((name) => changed.has(name) || caches.has(name)))
        for (const name of writes) if (tables.has(name)) caches.add(name);
  }
  return caches;
}

function copy(db: Connection, name: string): void {
  const kept = columns(db, KEPT + name);
  const both = columns(db, name).filter((column) => kept.includes(column));
  const list = both.map(quoted).join(", ");
  if (both.length > 0)
    db.script(`INSERT INTO ${quoted(name)} (${list}) SELECT ${list} FROM ${quoted(KEPT + name)}`);
  db.script(`DROP TABLE IF EXISTS ${quoted(KEPT + name)}`);
}

/** Every row of the tables on which these triggers stand is inserted again, as it is; no other trigger is
 * told of it. */
function fill(db: Connection, to: Program, triggers: ReadonlySet<string>): void {
  for (const table of to.tables) {
    const found = db
      .execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?", [
        table.name,
      ])
      .map(([name, sql]) => [String(name), String(sql)] as const);
    if (!found.some(([name]) => triggers.has(name))) continue;
    const others = found.filter(([name]) => !triggers.has(name));
    for (const [name] of others) db.script(`DROP TRIGGER ${quoted(name)}`);
    const list = ["rowid", ...table.columns.map(({ name }) => quoted(name))].join(", ");
    // What is replaced by itself is inserted, and not deleted, for triggers.
    db.script(
      `INSERT OR REPLACE INTO ${quoted(table.name)} (${list}) SELECT ${list} FROM ${quoted(table.name)}`,
    );
    for (const [, sql] of others) db.script(sql);
  }
}

function columns(db: Connection, table: string): string[] {
  return db.execute("SELECT name FROM pragma_table_info(?)", [table]).map(([name]) => String(name));
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
