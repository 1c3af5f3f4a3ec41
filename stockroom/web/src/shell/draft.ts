/**
 * Work that is typed and not yet saved: kept over reloads, updates and lost tabs.
 *
 * Knows: where drafts are kept. Must not know: what is in them. A draft is this browser's alone. What
 * somebody sees on a shelf is true for a while only: such a draft is `brief`, and ends with its tab.
 */

const PREFIX = "stockroom.draft.";

interface DraftOptions {
  readonly brief?: boolean;
}

const placeOf = ({ brief = false }: DraftOptions): Storage =>
  brief ? sessionStorage : localStorage;

export function readDraft<T>(name: string, options: DraftOptions = {}): T | null {
  try {
    return JSON.parse(placeOf(options).getItem(PREFIX + name) ?? "null") as T | null;
  } catch {
    return null;
  }
}

/** A draft that cannot be kept, on a full device, must not stop what somebody is typing. */
export function keepDraft(name: string, draft: unknown, options: DraftOptions = {}): void {
  try {
    placeOf(options).setItem(PREFIX + name, JSON.stringify(draft));
  } catch (error) {
    console.warn(error);
  }
}

export function dropDraft(name: string, options: DraftOptions = {}): void {
  placeOf(options).removeItem(PREFIX + name);
}

export function dropAllDrafts(): void {
  for (const place of [localStorage, sessionStorage])
    for (const name of Object.keys(place)) if (name.startsWith(PREFIX)) place.removeItem(name);
}
