/** Taking back what was done, and saying so. */

import { undo } from "../data/stock.js";
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
