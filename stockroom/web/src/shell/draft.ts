/**
 * Work that is typed and not yet saved: kept over reloads, updates and lost tabs.
 *
 * Knows: where drafts are kept. Must not know: what is in them. A draft is this browser's alone.
 */

const PREFIX = "stockroom.draft.";

export function readDraft<T>(name: string): T | null {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? "null") as T | null;
  } catch {
    return null;
  }
}

export function keepDraft(name: string, draft: unknown): void {
  localStorage.setItem(PREFIX + name, JSON.stringify(draft));
}

export function dropDraft(name: string): void {
  localStorage.removeItem(PREFIX + name);
}

export function dropAllDrafts(): void {
  for (const name of Object.keys(localStorage))
    if (name.startsWith(PREFIX)) localStorage.removeItem(name);
}
