/** Taking back what was done, and saying so; what somebody else has done is asked about first. */

import { enrolled } from "../data/replica.js";
import { type Entry, undo } from "../data/stock.js";
import { t } from "../i18n/index.js";
import { whyNot } from "../i18n/trouble.js";
import { say, sayBad } from "../shell/toast.svelte.js";

export async function undoEntries(entries: readonly string[]): Promise<void> {
  try {
    await undo(entries);
    say(t("undo.done"));
  } catch (error) {
    sayBad(whyNot(error));
  }
}

type Made = Pick<Entry, "id" | "person">;

export async function undoEntry({ id, person }: Made): Promise<void> {
  const isOwn = person === "" || person === enrolled()?.user;
  if (isOwn) await undoEntries([id]);
  else say(t("undo.others", { person }), { label: t("undo.sure"), run: () => undoEntries([id]) });
}
