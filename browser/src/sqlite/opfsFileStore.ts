/**
 * Files of the server on OPFS: bytes as plain files, databases in the pool that has the replica.
 *
 * Knows: sync access handles, and the pool's ways. Must not know: what is in a file.
 * Only the pool's files can be attached to the replica. A pool has a fixed number of them, one of which
 * SQLite takes whenever it needs one; so a database gets its name before its bytes, and the pool is
 * made larger first and smaller again afterwards.
 */

import type { Database, SAHPoolUtil, Sqlite3Static } from "@sqlite.org/sqlite-wasm";

import { DatabaseCorrupt, DatabaseFull, messageOf } from "../core/errors.js";
import { POOL_SPARE_MIN } from "../core/limits.js";
import { Connection } from "./connection.js";
import { timesNoRoom } from "./disk.js";
import type { FileStore, StoredBytes } from "./fileStore.js";

const FOLDER = "files";
/** Names in the pool that are ours; all others are SQLite's. */
const PREFIX = `/${FOLDER}/`;

/** Of workers only, so that the types for pages do not have it. */
interface SyncHandle {
  getSize(): number;
  read(into: Uint8Array, options: { at: number }): number;
  write(piece: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

class Handle implements StoredBytes {
  readonly #handle: SyncHandle;
  size: number;

  constructor(handle: SyncHandle) {
    this.#handle = handle;
    this.size = handle.getSize();
  }

  read(into: Uint8Array, at: number): number {
    return this.#handle.read(into, { at });
  }

  append(piece: Uint8Array): void {
    const written = this.#handle.write(piece, { at: this.size });
    this.size += written;
    if (written < piece.length) throw new DOMException("not all of it", "QuotaExceededError");
  }

  clear(): void {
    this.#handle.truncate(0);
    this.size = 0;
  }

  close(): void {
    try {
      this.#handle.flush();
    } finally {
      this.#handle.close();
    }
  }
}

export class OpfsFileStore implements FileStore {
  readonly #sqlite: Sqlite3Static;
  readonly #pool: SAHPoolUtil;
  readonly #directory: string;
  readonly #capacity: number;

  /** `directory`: the replica's, below which there is a folder for bytes. */
  constructor(sqlite: Sqlite3Static, pool: SAHPoolUtil, directory: string, capacity: number) {
    this.#sqlite = sqlite;
    this.#pool = pool;
    this.#directory = directory;
    this.#capacity = capacity;
  }

  async names(): Promise<string[]> {
    const names = this.#databases();
    for await (const name of (await this.#folder()).keys()) names.push(name);
    return names;
  }

  async size(name: string): Promise<number> {
    if (this.#databases().includes(name)) {
      const db = this.openDatabase(name);
      try {
        const [row] = db.execute(
          "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        );
        return Number(row?.[0] ?? 0);
      } catch {
        return 0; // whatever it is, it is to be made anew
      } finally {
        db.close();
      }
    }
    try {
      const file = await (await this.#folder()).getFileHandle(name);
      return (await file.getFile()).size;
    } catch (error) {
      if (isMissing(error)) return 0;
      throw error;
    }
  }

  async bytes(name: string): Promise<StoredBytes> {
    const folder = await this.#folder();
    const file = (await folder.getFileHandle(name, { create: true })) as unknown as {
      createSyncAccessHandle(): Promise<SyncHandle>;
    };
    return new Handle(await file.createSyncAccessHandle());
  }

  async makeDatabase(name: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const pool = this.#pool;
    const path = PREFIX + name;
    const lacking = POOL_SPARE_MIN + 1 - (pool.getCapacity() - pool.getFileCount());
    if (lacking > 0) await pool.addCapacity(lacking);
    // Opened and closed: from here on this file of the pool is nobody else's.
    this.#open(path, "c").close();
    const source = pieces[Symbol.asyncIterator]();
    const given = { whole: false };
    const next = async (): Promise<Uint8Array | undefined> => {
      const piece = await source.next();
      given.whole = piece.done === true;
      return piece.done ? undefined : piece.value;
    };
    const before = timesNoRoom();
    try {
      await pool.importDb(path, next);
    } catch (error) {
      pool.unlink(path);
      // The pool tells in words only that a write was cut short, or that the bytes are no database.
      if (timesNoRoom() > before) throw new DatabaseFull("no space left for this database");
      const looked = given.whole || error instanceof this.#sqlite.SQLite3Error;
      if (looked && !(error instanceof DOMException)) throw new DatabaseCorrupt(messageOf(error));
      throw error;
    } finally {
      await source.return?.();
    }
  }

  openDatabase(name: string): Connection {
    return new Connection(this.#sqlite, this.#open(PREFIX + name, "r"));
  }

  attach(to: Connection, name: string, alias: string): void {
    to.execute(`ATTACH ? AS ${alias}`, [PREFIX + name]);
  }

  async remove(name: string): Promise<void> {
    if (!this.#pool.unlink(PREFIX + name))
      try {
        await (await this.#folder()).removeEntry(name);
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    // Also what a leader that was killed has left.
    const spare = this.#pool.getCapacity() - this.#capacity;
    if (spare > 0 && this.#databases().length === 0) await this.#pool.reduceCapacity(spare);
  }

  async free(): Promise<number | null> {
    const { quota, usage } = await navigator.storage.estimate();
    return quota === undefined || usage === undefined ? null : Math.max(0, quota - usage);
  }

  #open(path: string, flags: "c" | "r"): Database {
    // Its types know of no flags.
    const Db = this.#pool.OpfsSAHPoolDb as unknown as new (path: string, flags: string) => Database;
    return new Db(path, flags);
  }

  #databases(): string[] {
    return this.#pool
      .getFileNames()
      .filter((path) => path.startsWith(PREFIX))
      .map((path) => path.slice(PREFIX.length));
  }

  async #folder(): Promise<FileSystemDirectoryHandle> {
    const root = await navigator.storage.getDirectory();
    const home = await root.getDirectoryHandle(this.#directory, { create: true });
    return await home.getDirectoryHandle(FOLDER, { create: true });
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof DOMException && error.name === "NotFoundError";
}
