/** Taking back what was done, and saying so; what somebody else has done is asked about first. */

import { called } from "../data/names.svelte.js";
import { enrolled } from "../data/replica.js";
import { type Entry, undo } from "../data/stock.js";
import { t } from "../i18n/index.js";
import { type Deed, rights } from "../data/rights.svelte.js";
import { whyNot } from "../i18n/trouble.js";
import { lockedWords } from "../shell/locked.js";
import { say, sayBad } from "../shell/toast.svelte.js";

export async function undoEntries(entries: readonly string[]): Promise<void> {
  try {
    await undo(entries);
    say(t("undo.done"));
  } catch (error) {
    sayBad(whyNot(error));
  }
}

/** Say whom to ask for what one may not do. */
export const sayLocked = (deed: Deed): void => sayBad(lockedWords(deed));

type Made = Pick<Entry, "id" | "person">;

export async function undoEntry({ id, person }: Made): Promise<void> {
  const isOwn = person === "" || person === enrolled()?.user;
  if (!isOwn && !rights.may("undo")) sayLocked("undo");
  else if (isOwn) await undoEntries([id]);
  else
    say(t("undo.others", { person: called(person) }), {
      label: t("undo.sure"),
      run: () => undoEntries([id]),
    });
}
