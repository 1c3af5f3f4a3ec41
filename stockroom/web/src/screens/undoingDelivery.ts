/** Taking a whole delivery back, and saying so; what somebody else has received is asked about first. */

import * as deliveries from "../data/deliveries.js";
import { called } from "../data/names.svelte.js";
import { enrolled } from "../data/replica.js";
import { t } from "../i18n/index.js";
import "../i18n/later.js";
import { rights } from "../data/rights.svelte.js";
import { whyNot } from "../i18n/trouble.js";
import { say, sayBad } from "../shell/toast.svelte.js";
import { sayLocked } from "./undoing.js";

/** Take a whole delivery back. `by`: who has received it; "" for oneself. */
export async function undoDelivery(id: string, by = ""): Promise<void> {
  const undoIt = async (): Promise<void> => {
    try {
      await deliveries.undo(id);
      say(t("delivery.undoDone"));
    } catch (error) {
      sayBad(whyNot(error));
    }
  };
  const isOwn = by === "" || by === enrolled()?.user;
  if (!rights.may(isOwn ? "receive" : "undo")) sayLocked(isOwn ? "receive" : "undo");
  else if (isOwn) await undoIt();
  else
    say(t("delivery.undoOthers", { person: called(by) }), { label: t("undo.sure"), run: undoIt });
}
