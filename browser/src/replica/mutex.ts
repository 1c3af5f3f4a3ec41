/**
 * Taking turns: one connection serves the app and sync, and a transaction of either is not disturbed.
 *
 * Knows: order. Must not know: what is done in a turn.
 */

/** Runs work on the database when it is its turn. */
export type MutexTurn = <T>(work: () => T | Promise<T>) => Promise<T>;

export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** Run this after all that asked before; the next begins when it is settled. */
  take<T>(work: () => T | Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}

/** Let others have a moment in the middle of long work: messages, timers, what is to be told. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel(); // a timer would be held back in the background
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
