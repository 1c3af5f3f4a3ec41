/**
 * What can truthfully be said of a replica at this moment: counted from its tables, never cached.
 *
 * Knows: the replica's tables. Must not know: how to sync.
 */

import type { FailureKind, State } from "../../core/connection/connectivity.js";
import { whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "./database.js";
import { countOffered } from "../identity/kept.js";
import { notedTables } from "./noted.js";
import { isLogged, openGroups } from "../changes/seal.js";
import { anyUnsettled, readWaiting, type Waiting } from "./waiting.js";

/** Connection as it is known. `retryAt`: microseconds since 1970, by the device's clock. */
export interface Known {
  readonly state: State;
  readonly retryAt: number | null;
  readonly attempt: number;
  readonly stalled: boolean;
  readonly stalledReason: string | null;
  /** What kind of failure the last one was: the same code may be the server's or the device's own. */
  readonly errorKind: FailureKind | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  /** What a person can do about that failure, in a sentence. */
  readonly wayOut: string | null;
  /** When `state` and the failure were so, microseconds since 1970: now, while background sync runs; null:
   * nothing is known yet. */
  readonly asOf: number | null;
}

export const UNKNOWN: Known = {
  state: "starting",
  retryAt: null,
  attempt: 0,
  stalled: false,
  stalledReason: null,
  errorKind: null,
  errorCode: null,
  errorMessage: null,
  wayOut: null,
  asOf: null,
};

/** Progress of a first load or a large catch-up. `stage`: `building` (the server makes a file; rows),
 * `downloading` (bytes), `checking` and `importing` (rows); `done` of `total` (0: not known). */
export interface Loading {
  readonly stage: "building" | "downloading" | "checking" | "importing";
  readonly done: number;
  readonly total: number;
  readonly scopes: readonly string[];
}

/** The schema of a replica's file. `serverGeneration`: what the server was found to have; null: it has not
 * been met yet. */
export interface SchemaStatus {
  readonly generation: number;
  readonly fingerprint: string;
  readonly serverGeneration: number | null;
}

/** `pending`: local transactions not yet sent; `sent`: not yet answered, also those that are offered again; `held`, `refused` and
 * `conflicts` wait for a person. `setAside`: those of pending and sent that this device cannot show
 * now, and shows as held: they count in `held`, too, and the server decides about them. Times are
 * microseconds since 1970, UTC. */
export interface Status extends Known {
  readonly pending: number;
  readonly sent: number;
  readonly held: number;
  readonly setAside: number;
  readonly refused: number;
  readonly conflicts: number;
  readonly pendingChanges: number;
  readonly oldestPendingAt: number | null;
  readonly verifiedAt: number | null;
  readonly clockOffsetMs: number | null;
  readonly clockErrorMs: number | null;
  readonly mismatches: number;
  /** How many acknowledged transactions were given up here after days of waiting for a backup of the server that
   * has them: a server that is lost now would not get these back from this device. */
  readonly keptLost: number;
  readonly device: string;
  readonly user: string;
  readonly server: string;
  readonly schema: SchemaStatus;
  /** Whether the browser has promised not to evict the data; null: not known (yet). */
  readonly persisted: boolean | null;
  /** A first load or a large catch-up under way. */
  readonly loading: Loading | null;
}

/** Return whether anything waits to be sent or answered. */
export function hasWork(database: LocalDatabase): boolean {
  return anyUnsettled(database) || isLogged(database) || countOffered(database) > 0;
}

/** Return how many changes wait, sealed or not: only an index of them is read. */
function changesOf(database: LocalDatabase, { first }: Waiting): number {
  const { connection, program } = database;
  let found = 0;
  if (first !== null)
    for (const table of notedTables(connection, program))
      found += database.count(program.statements(table).count_changes, BigInt(first));
  return found + (isLogged(database) ? database.count(program.json.count_logged) : 0);
}

/** Return when the first of what is not sealed was written. */
function firstLogged({ connection, program }: LocalDatabase): number | null {
  const [row] = connection.execute(program.json.first_logged);
  return typeof row?.[0] === "bigint" ? Number(row[0]) : null;
}

/** The status now. */
export function readStatus(
  database: LocalDatabase,
  known: Known,
  about: Pick<Status, "server" | "persisted" | "loading">,
): Status {
  const waiting = readWaiting(database);
  const setAside = database.count(database.bookkeeping.transactions.count_aside);
  const [device = "", user = ""] = database.texts("device", "user");
  const [verified, offset, error, mismatches, theirs, lost] = database.state(
    "verified_us",
    "offset_us",
    "offset_error_us",
    "mismatches",
    "server_generation",
    "kept_lost",
  );
  return {
    ...known,
    ...about,
    pending: waiting.pending + openGroups(database),
    sent: waiting.sent + countOffered(database),
    held: waiting.held + setAside,
    setAside,
    refused: waiting.refused,
    conflicts: database.count(database.bookkeeping.conflicts.count_open),
    pendingChanges: changesOf(database, waiting),
    oldestPendingAt: waiting.oldest ?? firstLogged(database),
    verifiedAt: typeof verified === "bigint" ? Number(verified) : null,
    clockOffsetMs: typeof offset === "bigint" ? Math.round(Number(offset) / 1000) : null,
    clockErrorMs: typeof error === "bigint" ? Math.ceil(Number(error) / 1000) : null,
    mismatches: whole(mismatches),
    keptLost: whole(lost),
    device,
    user,
    schema: {
      generation: database.program.json.schema.generation ?? 1,
      fingerprint: database.program.json.fingerprint,
      serverGeneration: typeof theirs === "bigint" ? Number(theirs) : null,
    },
  };
}
