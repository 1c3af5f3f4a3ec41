/**
 * Where files of the server are kept beside a replica: as bytes while they come, then as databases.
 *
 * Knows: names, bytes and databases. Must not know: what is in them, or how they came. Here is what
 * every such place does, and the one of databases in memory; the one on OPFS is in `opfsKeep`.
 */

import type { Sqlite3Static } from "@sqlite.org/sqlite-wasm";

import { Connection } from "./connection.js";

/** Bytes that grow at their end. Whoever opens them closes them; nobody else has them meanwhile. */
export interface StoredBytes {
  readonly size: number;
  /** Read from a place on; how many bytes there were. */
  read(into: Uint8Array, at: number): number;
  append(piece: Uint8Array): void;
  clear(): void;
  close(): void;
}

export interface FileStore {
  /** What is here, bytes and databases. */
  names(): Promise<string[]>;
  /** How many bytes are here under a name; 0 for none. */
  size(name: string): Promise<number>;
  bytes(name: string): Promise<StoredBytes>;
  /** Make a database of its bytes. What was there under the name is gone, whether it succeeds or not. */
  makeDatabase(name: string, pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /** A connection of its own, which only reads. */
  openDatabase(name: string): Connection;
  attach(to: Connection, name: string, alias: string): void;
  remove(name: string): Promise<void>;
  /** Bytes that are free for more; null: nobody knows. */
  free(): Promise<number | null>;
}

class Pieces implements StoredBytes {
  #whole: Uint8Array = new Uint8Array(1024);
  size = 0;

  read(into: Uint8Array, at: number): number {
    const found = this.#whole.subarray(at, Math.min(this.size, at + into.length));
    into.set(found);
    return found.length;
  }

  append(piece: Uint8Array): void {
    const size = this.size + piece.length;
    if (size > this.#whole.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.#whole.length));
      larger.set(this.#whole.subarray(0, this.size));
      this.#whole = larger;
    }
    this.#whole.set(piece, this.size);
    this.size = size;
  }

  clear(): void {
    this.size = 0;
  }

  close(): void {
    // It stays.
  }
}

/** In memory, for a replica that is itself. */
export class MemoryFileStore implements FileStore {
  readonly #sqlite: Sqlite3Static;
  readonly #kept = new Map<string, Pieces>();

  constructor(sqlite: Sqlite3Static) {
    this.#sqlite = sqlite;
  }

  names(): Promise<string[]> {
    return Promise.resolve([...this.#kept.keys()]);
  }

  size(name: string): Promise<number> {
    return Promise.resolve(this.#kept.get(name)?.size ?? 0);
  }

  bytes(name: string): Promise<StoredBytes> {
    return Promise.resolve(this.#open(name));
  }

  async makeDatabase(name: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const kept = this.#open(name);
    kept.clear();
    for await (const piece of pieces) kept.append(piece);
  }

  openDatabase(name: string): Connection {
    const connection = new Connection(this.#sqlite, new this.#sqlite.oo1.DB(":memory:"));
    connection.loadImage(this.#image(name), "main", true);
    return connection;
  }

  attach(to: Connection, name: string, alias: string): void {
    to.attachImage(this.#image(name), alias);
  }

  remove(name: string): Promise<void> {
    this.#kept.delete(name);
    return Promise.resolve();
  }

  free(): Promise<null> {
    return Promise.resolve(null);
  }

  #open(name: string): Pieces {
    const kept = this.#kept.get(name) ?? new Pieces();
    this.#kept.set(name, kept);
    return kept;
  }

  #image(name: string): Uint8Array {
    const kept = this.#open(name);
    const image = new Uint8Array(kept.size);
    kept.read(image, 0);
    return image;
  }
}
