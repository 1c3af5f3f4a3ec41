/**
 * What a person is told about sync: the status, the badges of rows, what waits, what needs them.
 *
 * Knows: the engine's views. Must not know: how any of it is worded. All of it is live.
 */

import type { AppRow, Conflict, Refused, Status } from "@holdfast/browser";

import { Live, type Question, text, whole } from "./live.svelte.js";
import { replica } from "./replica.js";

export type Badge = "pending" | "sent" | "attention";

/** `tbl key` -> badge; a product carries the badge of its movements. */
const BADGES: Question = {
  sql:
    "SELECT tbl, key, state FROM holdfast_pending " +
    "UNION ALL SELECT 'product', m.product_id, w.state FROM holdfast_pending AS w " +
    "JOIN movement AS m ON m.id = w.key WHERE w.tbl = 'movement' " +
    "UNION ALL SELECT tbl, key, 'attention' FROM holdfast_inbox",
};

/** All that is shown of the inbox: the sides of an open conflict, and its authors, change meanwhile. */
const INBOX: Question = {
  sql:
    "SELECT i.kind, i.id, i.tbl, i.key, i.at, c.kind, c.base, c.mine, c.theirs, c.user, c.their_user, c.their_at " +
    "FROM holdfast_inbox AS i LEFT JOIN holdfast_conflict AS c ON i.kind = 'conflict' AND c.id = i.id",
};

const RANK: Readonly<Record<Badge, number>> = { sent: 1, pending: 2, attention: 3 };

function badgeMap(rows: readonly AppRow[]): ReadonlyMap<string, Badge> {
  const found = new Map<string, Badge>();
  for (const [table, key, state] of rows) {
    const badge: Badge = state === "pending" ? "pending" : state === "sent" ? "sent" : "attention";
    const name = `${text(table)} ${text(key)}`;
    const before = found.get(name);
    if (before === undefined || RANK[badge] > RANK[before]) found.set(name, badge);
  }
  return found;
}

/** What the engine says was done to a row. */
export type Operation = "insert" | "update" | "delete";

/** A local transaction that waits, one of its rows a line. */
export interface Waiting {
  readonly tx: number;
  readonly table: string;
  readonly key: string;
  readonly op: Operation;
  readonly state: string;
  readonly name: string;
  readonly quantity: number | null;
  readonly kind: string;
  readonly product: string;
}

export const WAITING_SHOWN_MAX = 300;
export const WAITING: Question = {
  sql:
    "SELECT w.tx, w.tbl, w.key, w.kind, w.state, coalesce(p.name, mp.name, bp.name, ''), " +
    "m.quantity, coalesce(m.kind, ''), coalesce(p.id, mp.id, bp.id, '') FROM holdfast_pending AS w " +
    "LEFT JOIN product AS p ON w.tbl = 'product' AND p.id = w.key " +
    "LEFT JOIN movement AS m ON w.tbl = 'movement' AND m.id = w.key " +
    "LEFT JOIN product AS mp ON mp.id = m.product_id " +
    "LEFT JOIN barcode AS b ON w.tbl = 'barcode' AND b.code = w.key " +
    "LEFT JOIN product AS bp ON bp.id = b.product_id " +
    `ORDER BY w.tx DESC LIMIT ${WAITING_SHOWN_MAX}`,
};

export const readWaiting = (row: AppRow): Waiting => ({
  tx: whole(row[0]),
  table: text(row[1]),
  key: text(row[2]),
  op: text(row[3]) as Operation,
  state: text(row[4]),
  name: text(row[5]),
  quantity: row[6] === null ? null : whole(row[6]),
  kind: text(row[7]),
  product: text(row[8]),
});

class SyncState {
  status = $state.raw<Status | null>(null);
  conflicts = $state.raw<readonly Conflict[]>([]);
  refused = $state.raw<readonly Refused[]>([]);
  /** Before, that there is nothing in the inbox only means that nobody has looked. */
  inboxRead = $state(false);

  /** Changes made here that the server has not confirmed. */
  get unsent(): number {
    return (this.status?.pending ?? 0) + (this.status?.sent ?? 0);
  }

  get needsYou(): number {
    return (this.status?.conflicts ?? 0) + (this.status?.refused ?? 0) + (this.status?.held ?? 0);
  }
}

export const sync = new SyncState();

let badges: Live<ReadonlyMap<string, Badge>> | null = null;

export function badgeOf(table: string, key: string): Badge | null {
  return badges?.value?.get(`${table} ${key}`) ?? null;
}

/** Follow the replica for as long as the calling component lives. */
export function follow(): void {
  badges = new Live(() => BADGES, badgeMap);
  // The inbox is looked into again whenever the database says that it has changed.
  const inbox = new Live(
    () => INBOX,
    (rows) => rows,
  );
  $effect(() => {
    let ended = false;
    let stop: (() => void) | null = null;
    void replica()
      .watchStatus((status) => {
        if (!ended) sync.status = status;
      })
      .then((end) => {
        if (ended) end();
        else stop = end;
      });
    return () => {
      ended = true;
      stop?.();
    };
  });
  $effect(() => {
    void inbox.value;
    void Promise.all([replica().conflicts(), replica().refused()])
      .then(([conflicts, refused]) => {
        sync.conflicts = conflicts;
        sync.refused = refused;
        sync.inboxRead = true;
      })
      .catch((error: unknown) => console.error(error));
  });
}

/** All that this device has not been able to send, as a file to keep. */
export async function exportOutbox(): Promise<Blob> {
  const device = replica();
  const [{ rows }, status, refused] = await Promise.all([
    device.query(WAITING.sql.replace(` LIMIT ${WAITING_SHOWN_MAX}`, "")),
    device.status(),
    device.refused(),
  ]);
  const moved = await device.query(
    "SELECT m.* FROM movement AS m JOIN holdfast_pending AS w ON w.tbl = 'movement' AND w.key = m.id",
  );
  const products = await device.query(
    "SELECT p.* FROM product AS p JOIN holdfast_pending AS w ON w.tbl = 'product' AND w.key = p.id",
  );
  const table = (found: { columns: readonly string[]; rows: readonly AppRow[] }): object[] =>
    found.rows.map((row) => Object.fromEntries(found.columns.map((name, at) => [name, row[at]])));
  const all = {
    made: new Date().toISOString(),
    device: status.device,
    user: status.user,
    waiting: rows.map(readWaiting),
    movements: table(moved),
    products: table(products),
    refused,
  };
  const plain = JSON.stringify(
    all,
    (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value),
    2,
  );
  return new Blob([plain], { type: "application/json" });
}
