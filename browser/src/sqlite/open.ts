/**
 * Opening databases: in memory anywhere, and durable ones on OPFS inside a dedicated worker.
 *
 * Knows: SQLite's WASM module and its VFS on a pool of sync access handles, which are exclusive: one
 * worker of an origin has them, whoever that is (`tabs/`). Must not know: tables of the engine.
 * Upholds I1: full sync at every commit; and that nothing is deleted when opening fails.
 */

import init, { type SAHPoolUtil, type Sqlite3Static } from "@sqlite.org/sqlite-wasm";

import { DatabaseCorrupt, DatabaseError, messageOf, ReplicaError } from "../core/errors.js";
import { LOG_BYTES_KEPT, PAGE_CACHE_KIB, TAKEN_POLL_MS } from "../core/limits.js";
import { Connection } from "./connection.js";
import { DamagedFiles, type Image } from "./damaged.js";
import { listenToDisk, noRoomLeft, tellOfWrites } from "./disk.js";
import { type FileStore, MemoryFileStore } from "./fileStore.js";
import { OpfsFileStore } from "./opfsFileStore.js";

/** Without a word on what it prints: errors are thrown, and an app's console is the app's. */
let loading: Promise<Sqlite3Static> | null = null;

export function sqlite(): Promise<Sqlite3Static> {
  loading ??= init();
  return loading;
}

export interface Opened {
  readonly connection: Connection;
  /** Where files of the server are kept beside it. */
  readonly keep: FileStore;
  /** Have the file checked before it is opened again: something in it was found damaged. */
  readonly suspect: () => void;
  /** Let go of the file, so that another worker may have it. */
  readonly close: () => void;
}

/** A database that is gone when it is closed. `image`: the bytes of one to begin with. */
export async function openMemory(image?: Uint8Array): Promise<Opened> {
  const module = await sqlite();
  const connection = new Connection(module, new module.oo1.DB(":memory:"));
  if (image !== undefined) connection.loadImage(image, "main", false);
  connection.execute("PRAGMA foreign_keys = 1");
  const keep = new MemoryFileStore(module);
  return { connection, keep, suspect: () => undefined, close: () => connection.close() };
}

/** Return what a browser lacks for durable storage, in words; null when it has everything. */
export function missingForOpfs(): string | null {
  if (typeof navigator === "undefined" || !("storage" in navigator)) return "storage for web pages";
  if (typeof navigator.storage.getDirectory !== "function") return "the origin private file system";
  if (!("FileSystemSyncAccessHandle" in globalThis)) return "sync access handles in workers";
  return null;
}

const POOL_CAPACITY = 6;
const REPLICA = "/replica.db";

/**
 * A durable database on OPFS. Only inside a dedicated worker; waits up to `waitMs` for a worker that
 * is going away to let go of the file. Throws `ReplicaError`: `no_opfs`, `opfs_busy`.
 */
export async function openOpfs(name: string, waitMs: number): Promise<Opened> {
  const { module, pool, directory } = await poolOf(name, waitMs);
  const damaged = new DamagedFiles(pool, directory);
  let connection: Connection | null = null;
  try {
    const marks = await damaged.marks();
    // Of a salvage that was ended on its way, nobody knows what stands in the file.
    if (marks.isUnfinished) throw new DatabaseCorrupt("the replica was being salvaged");
    const db = new pool.OpfsSAHPoolDb(REPLICA);
    connection = new Connection(module, db, { noRoomLeft, tellOfWrites });
    setUp(connection);
    if (marks.isSuspect) {
      checkWhole(connection);
      await damaged.clearSuspicion();
    }
  } catch (error) {
    connection?.close();
    pool.pauseVfs(); // or nobody could open it until this page is gone
    throw unusable(error);
  }
  const opened = connection;
  return {
    connection,
    keep: new OpfsFileStore(module, pool, directory, POOL_CAPACITY),
    suspect: () => void damaged.suspect(),
    close: () => {
      opened.close();
      pool.pauseVfs();
    },
  };
}

/**
 * Look at the bytes of a replica that cannot be opened, and put another database in its place, if `work`
 * makes one of them: the damaged bytes are kept beside it. Only inside a dedicated worker.
 */
export async function repairOpfs(
  name: string,
  waitMs: number,
  work: (image: Image) => Promise<Uint8Array | null>,
): Promise<void> {
  const { pool, directory } = await poolOf(name, waitMs);
  try {
    const damaged = new DamagedFiles(pool, directory);
    const image = await damaged.image();
    const made = await work(image);
    if (made !== null) await damaged.replace(image, made);
  } finally {
    pool.pauseVfs();
  }
}

interface Pool {
  readonly module: Sqlite3Static;
  readonly pool: SAHPoolUtil;
  readonly directory: string;
}

/** The files of a replica, which this worker alone has from now on. */
async function poolOf(name: string, waitMs: number): Promise<Pool> {
  const missing = missingForOpfs();
  if (missing !== null)
    throw new ReplicaError(
      `this browser cannot keep data safely here: it lacks ${missing} (a private window may be why)`,
      "no_opfs",
    );
  const module = await sqlite();
  listenToDisk();
  const directory = `.holdfast-${name}`;
  const until = Date.now() + waitMs;
  for (;;) {
    try {
      const pool = await module.installOpfsSAHPoolVfs({
        name: `holdfast-${name}`,
        directory,
        initialCapacity: POOL_CAPACITY,
        // What cannot be opened now holds somebody's work: it is never deleted.
        preserveOnInitFailure: true,
        forceReinitIfPreviouslyFailed: true,
        verbosity: 0,
      } as Parameters<Sqlite3Static["installOpfsSAHPoolVfs"]>[0]);
      // A worker that leads for the second time has the pool already, without its handles.
      if (pool.isPaused()) await pool.unpauseVfs();
      return { module, pool, directory };
    } catch (error) {
      if (!isTaken(error)) throw unusable(error);
      if (Date.now() >= until)
        throw new ReplicaError("another worker keeps the replica's file open", "opfs_busy");
      await new Promise((resolve) => setTimeout(resolve, TAKEN_POLL_MS));
    }
  }
}

/** Check a file from end to end. Throws `DatabaseCorrupt`. */
function checkWhole(connection: Connection): void {
  // The server may have looser ones.
  connection.execute("PRAGMA ignore_check_constraints = 1");
  const [row] = connection.execute("PRAGMA integrity_check(1)");
  connection.execute("PRAGMA ignore_check_constraints = 0");
  if (row?.[0] !== "ok") throw new DatabaseCorrupt(`the replica is damaged: ${String(row?.[0])}`);
}

function setUp(connection: Connection): void {
  // One connection has the file: the log's index may be in memory, and a commit syncs once.
  connection.execute("PRAGMA locking_mode = EXCLUSIVE");
  connection.execute("PRAGMA journal_mode = WAL");
  // A first load is one transaction as large as the shop; its log does not stay so large.
  connection.execute(`PRAGMA journal_size_limit = ${LOG_BYTES_KEPT}`);
  connection.execute(`PRAGMA cache_size = -${PAGE_CACHE_KIB}`);
  connection.execute("PRAGMA synchronous = FULL");
  connection.execute("PRAGMA foreign_keys = 1");
  // What a device may not see any more is overwritten, not only unlinked.
  connection.execute("PRAGMA secure_delete = 1");
}

function isTaken(error: unknown): boolean {
  return error instanceof Error && error.name === "NoModificationAllowedError";
}

function unusable(error: unknown): Error {
  if (error instanceof DatabaseError) return error;
  if (error instanceof Error && error.name === "SecurityError")
    return new ReplicaError("this page may not keep data (storage is blocked)", "no_opfs");
  return new ReplicaError(`the replica's file cannot be opened: ${messageOf(error)}`, "no_opfs");
}
