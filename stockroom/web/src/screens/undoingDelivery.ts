/** Taking a whole delivery back, and saying so; what somebody else has received is asked about first. */

import * as deliveries from "../data/deliveries.js";
import { enrolled } from "../data/replica.js";
import { t } from "../i18n/index.js";
import { whyNot } from "../i18n/trouble.js";
import { say, sayBad } from "../shell/toast.svelte.js";

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
  if (by === "" || by === enrolled()?.user) await undoIt();
  else say(t("delivery.undoOthers", { person: by }), { label: t("undo.sure"), run: undoIt });
}
