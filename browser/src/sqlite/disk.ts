/**
 * Whether the browser had no room when a file of the origin was written: SQLite only tells that it failed.
 *
 * Knows: sync access handles, which are this worker's alone. Must not know: SQLite. Upholds that a full
 * disk is told as such (I33), and not as a disk that is broken. Browsers differ: by the specification a
 * write beyond the quota throws; Chromium answers with a length that is none (-8, taken for unsigned).
 */

type Verb = "write" | "truncate" | "flush";
type Handle = Record<Verb, (...given: unknown[]) => unknown>;

const nobody = (): void => undefined;

let wrote = nobody;
let full = false;
let times = 0;
let listening = false;

/** Return whether the last write found no room. */
export function noRoomLeft(): boolean {
  return full;
}

/** Return how often a write has found no room. */
export function timesNoRoom(): number {
  return times;
}

/** Tell of each write, from the middle of whatever makes it; null: nobody any more. */
export function tellOfWrites(to: (() => void) | null): void {
  wrote = to ?? nobody;
}

/** Note from now on how writes end; what they answer and throw stays as it is. */
export function listenToDisk(): void {
  if (listening) return;
  listening = true;
  const { FileSystemSyncAccessHandle: Made } = globalThis as unknown as {
    readonly FileSystemSyncAccessHandle: { readonly prototype: Handle };
  };
  for (const verb of ["write", "truncate", "flush"] as const) {
    const done = Made.prototype[verb];
    Made.prototype[verb] = function (this: Handle, ...given) {
      full = false;
      try {
        const answer = done.apply(this, given);
        if (verb === "write") full = answer !== (given[0] as ArrayBufferView).byteLength;
        return answer;
      } catch (error) {
        full = error instanceof Error && error.name === "QuotaExceededError";
        throw error;
      } finally {
        if (full) times += 1;
        wrote();
      }
    };
  }
}
