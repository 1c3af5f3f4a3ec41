/**
 * Work that is typed and not yet saved: kept over reloads, updates and lost tabs.
 *
 * Knows: where drafts are kept, and that tabs share them. Must not know: what is in them. A draft is this
 * browser's alone. What somebody sees on a shelf is true for a while only: such a draft is `brief`, and
 * ends with its tab.
 */

import { ownName } from "../data/base.js";

const PREFIX = `${ownName("stockroom")}.draft.`;

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

/** Drop a draft; with `holding`, only while it is what was read, for another tab may have gone on. */
export function dropDraft(
  name: string,
  { holding, ...options }: DraftOptions & { readonly holding?: unknown } = {},
): void {
  if (holding === undefined || JSON.stringify(readDraft(name, options)) === JSON.stringify(holding))
    placeOf(options).removeItem(PREFIX + name);
}

/** Told whenever another tab has kept or dropped this draft; the answer ends it. */
export function onDraftElsewhere(name: string, told: () => void): () => void {
  const heard = ({ storageArea, key }: StorageEvent): void => {
    if (storageArea === localStorage && (key === null || key === PREFIX + name)) told();
  };
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}

/** Drop the drafts whose names begin so, but for those that are still about something. */
export function dropDraftsBut(beginning: string, kept: ReadonlySet<string>): void {
  for (const key of Object.keys(localStorage)) {
    const name = key.slice(PREFIX.length);
    if (key.startsWith(PREFIX + beginning) && !kept.has(name)) dropDraft(name);
  }
}

export function dropAllDrafts(): void {
  for (const place of [localStorage, sessionStorage])
    for (const name of Object.keys(place)) if (name.startsWith(PREFIX)) place.removeItem(name);
}
