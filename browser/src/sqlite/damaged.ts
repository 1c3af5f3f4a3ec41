/**
 * A damaged file on OPFS: its bytes are kept beside the pool, and a new database takes its place.
 *
 * Knows: sync access handles, and the pool's ways. Must not know: what is in a file.
 * The kept bytes and a mark are durable before the file is touched, so that whoever is ended on the way is
 * gone on from: then the kept bytes are the damaged file. Nothing is ever deleted.
 *
 * Upholds I34.
 */

import type { SAHPoolUtil } from "@sqlite.org/sqlite-wasm";

/** A database as bytes: its file, and its write-ahead log. */
export interface Image {
  readonly file: Uint8Array;
  readonly log: Uint8Array;
}

const FOLDER = "damaged";
const REPLICA = "/replica.db";
const LOG = "/replica.db-wal";
const [UNFINISHED, SUSPECT] = ["unfinished", "suspect"];

/** Of workers only, so that the types for pages do not have it. */
interface WritableFile {
  createSyncAccessHandle(): Promise<{
    write(bytes: Uint8Array, options: { at: number }): number;
    truncate(size: number): void;
    flush(): void;
    close(): void;
  }>;
}

export class DamagedFiles {
  readonly #pool: SAHPoolUtil;
  readonly #directory: string;

  constructor(pool: SAHPoolUtil, directory: string) {
    this.#pool = pool;
    this.#directory = directory;
  }

  async marks(): Promise<{ readonly isUnfinished: boolean; readonly isSuspect: boolean }> {
    const folder = await this.#folder(false);
    const names: string[] = [];
    if (folder !== null) for await (const name of folder.keys()) names.push(name);
    return { isUnfinished: names.includes(UNFINISHED), isSuspect: names.includes(SUSPECT) };
  }

  /** Have the file checked at its next open. */
  async suspect(): Promise<void> {
    await this.#write(SUSPECT, new Uint8Array());
  }

  async clearSuspicion(): Promise<void> {
    await this.#remove(SUSPECT);
  }

  /** The damaged bytes: as they were kept, when a salvage was ended on its way. */
  async image(): Promise<Image> {
    const kept = await this.#read(UNFINISHED);
    if (kept !== null) {
      const name = new TextDecoder().decode(kept);
      const [file, log] = [await this.#read(name), await this.#read(`${name}-wal`)];
      return { file: file ?? new Uint8Array(), log: log ?? new Uint8Array() };
    }
    const names = this.#pool.getFileNames();
    const bytes = (path: string): Uint8Array =>
      names.includes(path) ? new Uint8Array(this.#pool.exportFile(path)) : new Uint8Array();
    return { file: bytes(REPLICA), log: bytes(LOG) };
  }

  /** Keep the damaged bytes, then put a database in their place. */
  async replace(image: Image, database: Uint8Array): Promise<void> {
    const moment = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");
    if ((await this.#read(UNFINISHED)) === null) {
      const name = await this.#freeName(`replica.db.damaged-${moment}`);
      await this.#write(`${name}-wal`, image.log);
      await this.#write(name, image.file);
      await this.#write(UNFINISHED, new TextEncoder().encode(name));
    }
    this.#pool.unlink(LOG); // the new file must never meet it
    await this.#pool.importDb(REPLICA, database);
    await this.#remove(SUSPECT);
    await this.#remove(UNFINISHED);
  }

  async #freeName(name: string): Promise<string> {
    let found = name;
    for (let number = 2; (await this.#read(found)) !== null; number += 1)
      found = `${name}-${number}`;
    return found;
  }

  async #folder(create: true): Promise<FileSystemDirectoryHandle>;
  async #folder(create: boolean): Promise<FileSystemDirectoryHandle | null>;
  async #folder(create: boolean): Promise<FileSystemDirectoryHandle | null> {
    const root = await navigator.storage.getDirectory();
    const home = await root.getDirectoryHandle(this.#directory, { create: true });
    try {
      return await home.getDirectoryHandle(FOLDER, { create });
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async #read(name: string): Promise<Uint8Array | null> {
    try {
      const file = await (await this.#folder(false))?.getFileHandle(name);
      return file === undefined ? null : new Uint8Array(await (await file.getFile()).arrayBuffer());
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async #write(name: string, bytes: Uint8Array): Promise<void> {
    const file = await (await this.#folder(true)).getFileHandle(name, { create: true });
    const handle = await (file as unknown as WritableFile).createSyncAccessHandle();
    try {
      handle.truncate(0);
      if (handle.write(bytes, { at: 0 }) < bytes.length)
        throw new DOMException("not all of it", "QuotaExceededError");
      handle.flush();
    } finally {
      handle.close();
    }
  }

  async #remove(name: string): Promise<void> {
    try {
      await (await this.#folder(false))?.removeEntry(name);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof DOMException && error.name === "NotFoundError";
}
