/**
 * What is told of a replica: its status to watchers, and changed rows to live queries.
 *
 * Knows: who wants to be told, and what is known of connection and load. Must not know: what was
 * written, or how to sync. Upholds of I29 that the status is the truth of the moment it is told, and
 * that telling takes half of the time at most.
 */

import { TELL_AFTER_MS, TELL_PAUSE_MS_MAX } from "../core/limits.js";
import type { LocalDatabase } from "./storage/database.js";
import type { Host } from "./host.js";
import { aside, type LiveQueries } from "./liveQueries.js";
import { sealLong } from "./changes/seal.js";
import { type Known, type Loading, readStatus, type Status, UNKNOWN } from "./storage/status.js";
import type { MutexTurn } from "./mutex.js";

export interface NotifierParts {
  readonly database: LocalDatabase;
  readonly live: LiveQueries;
  readonly host: Host;
  /** What the status says of the server. */
  readonly server: string;
  /** The next turn, also when the replica is being closed. */
  readonly turn: MutexTurn;
}

export class Notifier {
  readonly #parts: NotifierParts;
  readonly #watchers = new Set<(status: Status) => void>();
  #known: Known = UNKNOWN;
  #persisted: boolean | null = null;
  #loading: Loading | null = null;
  /** The status as it was when an import began: until it ends, nobody can change what it counts. */
  #before: Status | null = null;
  #isChanged = false;
  #isTelling = false;
  #pauseMs = 0;
  #ended = false;

  constructor(parts: NotifierParts) {
    this.#parts = parts;
  }

  /** The status, read in a turn that the caller has. */
  status(): Status {
    const { database, host, server } = this.#parts;
    sealLong(database, host);
    return readStatus(database, this.#shown(), {
      server,
      persisted: this.#persisted,
      loading: this.#loading,
    });
  }

  get isImporting(): boolean {
    return this.#loading?.stage === "importing";
  }

  watch(watcher: (status: Status) => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** Rows may be others now. */
  changed(): void {
    if (this.#ended) return;
    this.#isChanged = true;
    this.#tell();
  }

  /** Something else is known of the connection. */
  say(known: Known): void {
    this.#known = known;
    this.#tell();
  }

  persisted(persisted: boolean): void {
    this.#persisted = persisted;
    this.#tell();
  }

  load(loading: Loading | null): void {
    this.#loading = loading;
    if (!this.isImporting) {
      this.#before = null;
      this.#tell();
      return;
    }
    // The import has the turn: the status is read before it begins, and told again as it goes on.
    this.#before ??= this.status();
    this.#watched({ ...this.#before, ...this.#shown(), loading });
  }

  /** Nobody is told anything any more. */
  end(): void {
    this.#ended = true;
    this.#watchers.clear();
  }

  /**
   * Tell live queries and watchers, soon and once for all that happens until then: whoever wrote has
   * its answer first, a burst of writes does not wait for every query after each of them, and telling
   * takes half of the time at most. In a turn of its own: what is told must not be in the middle of
   * somebody's transaction.
   */
  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    const pauseMs = Math.max(TELL_AFTER_MS, this.#pauseMs);
    setTimeout(() => {
      this.#parts
        .turn(() => this.#tellNow())
        .catch((error: unknown) => {
          console.error(error); // what could not be read now is told with the next change
        });
    }, pauseMs);
  }

  #tellNow(): void {
    const { host, live } = this.#parts;
    this.#isTelling = false;
    if (this.#ended) return;
    const beginMs = host.monotonicMs();
    if (this.#isChanged) live.committed();
    this.#isChanged = false;
    if (this.#watchers.size > 0) this.#watched(this.status());
    this.#pauseMs = Math.min(host.monotonicMs() - beginMs, TELL_PAUSE_MS_MAX);
  }

  #watched(status: Status): void {
    for (const watcher of [...this.#watchers]) aside(() => watcher(status));
  }

  /** Return what is known of the connection, as a person is to see it: who loads syncs, and who has paused has
   * paused. That a load ended for the pause is no error. */
  #shown(): Known {
    const { state, errorCode } = this.#known;
    if (state === "paused")
      return errorCode === "interrupted"
        ? { ...this.#known, errorKind: null, errorCode: null, errorMessage: null, wayOut: null }
        : this.#known;
    return this.#loading === null ? this.#known : { ...this.#known, state: "syncing" };
  }
}
