/**
 * Work that is typed and not yet saved: kept over reloads, updates and lost tabs.
 *
 * Knows: where drafts are kept, and that tabs share them. Must not know: what is in them. A draft is this
 * browser's alone, and outlives its end (see `keptDrafts`). What somebody sees on a shelf is true for a while
 * only: such a draft is `brief`, and ends with its tab.
 */

import { DRAFTS as PREFIX, draftsChanged } from "./keptDrafts.js";

interface DraftOptions {
  readonly brief?: boolean;
}

const placeOf = ({ brief = false }: DraftOptions): Storage =>
  brief ? sessionStorage : localStorage;

export function readDraft<T>(name: string, options: DraftOptions = {}): T | null {
  return parsedDraft<T>(placeOf(options).getItem(PREFIX + name));
}

export function parsedDraft<T>(text: string | null): T | null {
  try {
    return JSON.parse(text ?? "null") as T | null;
  } catch {
    return null;
  }
}

/** A draft that cannot be kept, on a full device, must not stop what somebody is typing. */
export function keepDraft(name: string, draft: unknown, options: DraftOptions = {}): void {
  try {
    placeOf(options).setItem(PREFIX + name, JSON.stringify(draft));
    void draftsChanged(options);
  } catch (error) {
    console.warn(error);
  }
}

/** Drop a draft; with `holding`, only while it is what was read, for another tab may have gone on. */
export function dropDraft(
  name: string,
  { holding, ...options }: DraftOptions & { readonly holding?: unknown } = {},
): void {
  const place = placeOf(options);
  if (place.getItem(PREFIX + name) === null) return;
  if (holding !== undefined && JSON.stringify(readDraft(name, options)) !== JSON.stringify(holding))
    return;
  place.removeItem(PREFIX + name);
  void draftsChanged(options);
}

/** A change that another tab has kept: the draft, and the one that the browser had before it; null: none. */
export interface Kept {
  readonly before: string | null;
  readonly now: string | null;
}

/** Told whenever another tab has kept or dropped this draft; the answer ends it. */
export function onDraftElsewhere(name: string, told: (kept: Kept) => void): () => void {
  const heard = ({ storageArea, key, oldValue, newValue }: StorageEvent): void => {
    if (storageArea === localStorage && (key === null || key === PREFIX + name))
      told({ before: oldValue, now: newValue });
  };
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}

/** The names of the drafts that begin so. */
export const draftNames = (beginning: string): string[] =>
  Object.keys(localStorage)
    .filter((key) => key.startsWith(PREFIX + beginning))
    .map((key) => key.slice(PREFIX.length))
    .sort();

/** Drop the drafts whose names begin so, but for those that are still about something. */
export function dropDraftsBut(beginning: string, kept: ReadonlySet<string>): void {
  for (const name of draftNames(beginning)) if (!kept.has(name)) dropDraft(name);
}

export async function dropAllDrafts(): Promise<void> {
  for (const place of [localStorage, sessionStorage])
    for (const name of Object.keys(place)) if (name.startsWith(PREFIX)) place.removeItem(name);
  await draftsChanged();
}
