/**
 * What a person is told about sync: the status, the badges of rows, what waits, what needs them.
 *
 * Knows: the engine's views. Must not know: how any of it is worded. All of it is live.
 */

import type { Conflict, Refused, Status } from "@holdfast/browser";

import { type ArchivedGoods, archivedAt } from "./archivedGoods.js";
import { Live } from "./live.svelte.js";
import { type Decision, decisions } from "./needs.js";
import { type State, STATES, THINGS, unsentRows, waitingRows } from "./outbox.js";
import { type Asked, openAt } from "./questions.js";
import { ask, replica } from "./replica.js";
import { asText, select, tables } from "./rows.js";
import { place } from "./stores.svelte.js";

export type Badge = "pending" | "sent" | "attention";

/** All that is shown of the inbox: the sides of an open conflict, and its authors, change meanwhile. */
const INBOX = select(
  Object.fromEntries(
    [
      ...["kind", "id", "tbl", "key", "at"].map((name) => `i.${name}`),
      ...["kind", "base", "mine", "theirs", "user", "their_user", "their_at"].map(
        (name) => `c.${name}`,
      ),
    ].map((name) => [name, asText(name)]),
  ),
  "FROM holdfast_inbox AS i LEFT JOIN holdfast_conflict AS c ON i.kind = 'conflict' AND c.id = i.id",
);

const RANK: Readonly<Record<Badge, number>> = { sent: 1, pending: 2, attention: 3 };

/** `table key` -> badge. */
function badgeMap(rows: readonly State[]): ReadonlyMap<string, Badge> {
  const found = new Map<string, Badge>();
  for (const { table, key, state } of rows) {
    const badge: Badge = state === "pending" ? "pending" : state === "sent" ? "sent" : "attention";
    const name = `${table} ${key}`;
    const before = found.get(name);
    if (before === undefined || RANK[badge] > RANK[before]) found.set(name, badge);
  }
  return found;
}

export const WAITING_SHOWN_MAX = 300;

class SyncState {
  status = $state.raw<Status | null>(null);
  conflicts = $state.raw<readonly Conflict[]>([]);
  refused = $state.raw<readonly Refused[]>([]);
  /** Goods of this store that may have been received twice. */
  twice = $state.raw<readonly Asked[]>([]);
  /** Goods of this store that are archived with some on hand. */
  archived = $state.raw<readonly ArchivedGoods[]>([]);
  /** Before, that there is nothing in the inbox only means that nobody has looked. */
  inboxRead = $state(false);

  /** What of it is one thing to a person, such as a whole delivery; null until it was counted. */
  things = $state<number | null>(null);
  /** What the server did not take, as questions. */
  readonly decisions = $derived<readonly Decision[]>(decisions(this.refused));

  /** Things done here that the server has not confirmed. */
  get unsent(): number {
    const changes = (this.status?.pending ?? 0) + (this.status?.sent ?? 0);
    return Math.min(changes, Math.max(1, this.things ?? changes));
  }

  /** Questions, however many changes each is about: the same wherever it is said. */
  get needsYou(): number {
    const { conflicts = 0, refused = 0, held = 0 } = this.status ?? {};
    const asked = this.inboxRead
      ? this.conflicts.length + this.decisions.length
      : conflicts + refused + held;
    return asked + this.twice.length + this.archived.length;
  }
}

export const sync = new SyncState();

let badges: Live<ReadonlyMap<string, Badge>> | null = null;

export function badgeOf(table: string, key: string): Badge | null {
  return badges?.value?.get(`${table} ${key}`) ?? null;
}

/** Follow the replica for as long as the calling component lives. */
export function follow(): void {
  badges = new Live(() => STATES, badgeMap);
  // The inbox is looked into again whenever the database says that it has changed.
  const inbox = new Live(
    () => INBOX,
    (rows) => rows,
  );
  const twice = new Live(
    () => (place.store === "" ? null : openAt(place.store)),
    (rows) => rows,
  );
  const things = new Live(
    () => THINGS,
    ([found]) => found?.count ?? 0,
  );
  const archived = new Live(
    () => (place.store === "" ? null : archivedAt(place.store)),
    (rows) => rows,
  );
  $effect(() => {
    sync.twice = twice.value ?? [];
    sync.archived = archived.value ?? [];
    sync.things = things.value ?? null;
  });
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
  const [waiting, status, refused] = await Promise.all([
    ask(waitingRows(null)),
    device.status(),
    device.refused(),
  ]);
  const rows: Record<string, readonly object[]> = {};
  for (const table of tables) rows[table] = await ask(unsentRows(table));
  const all = {
    made: new Date().toISOString(),
    device: status.device,
    user: status.user,
    waiting,
    rows,
    refused,
  };
  const plain = JSON.stringify(
    all,
    (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value),
    2,
  );
  return new Blob([plain], { type: "application/json" });
}
