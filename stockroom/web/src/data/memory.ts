/**
 * What this browser remembers of itself outside of the replica: that it is a device, and which.
 *
 * Knows: IndexedDB, whose commits are on the disk when they are answered. Must not know: what is
 * remembered. Local storage would not do: a browser that is killed loses what it was told last there,
 * and with it the way to a replica full of work.
 */

import { ownName } from "./base.js";

const DATABASE = ownName("stockroom");
const STORE = "memory";

function opened(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => void request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("the memory cannot be opened"));
  });
}

async function within<T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const database = await opened();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(STORE, mode, { durability: "strict" });
      const request = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () =>
        reject(transaction.error ?? new Error("the memory cannot be written"));
    });
  } finally {
    database.close();
  }
}

export function recall(name: string): Promise<unknown> {
  return within("readonly", (store) => store.get(name) as IDBRequest<unknown>);
}

/** Durable once it is answered; null forgets. */
export async function keep(name: string, value: unknown): Promise<void> {
  await within("readwrite", (store) => {
    const request: IDBRequest = value === null ? store.delete(name) : store.put(value, name);
    return request as IDBRequest<unknown>;
  });
}

/** Replace it if what is kept `gives` way to it, undefined for nothing. Durable once it is answered. */
export async function replaceKept(
  name: string,
  gives: (kept: unknown) => boolean,
  value: unknown,
): Promise<void> {
  await within("readwrite", (store) => {
    const found = store.get(name) as IDBRequest<unknown>;
    found.onsuccess = () => {
      if (gives(found.result)) store.put(value, name);
    };
    return found;
  });
}
