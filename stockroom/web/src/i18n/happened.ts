/**
 * What has happened to this device, in a sentence for whoever holds it.
 *
 * Knows: kinds of events, and their counts. Must not know: where it is shown.
 */

import type { Happened } from "../data/happened.js";
import { t, tOr } from "./index.js";
import "../i18n/later.js";

/** Return the sentence of an event, and those on what was sent again, where anything was. */
export function inWords({ kind, resent, alreadyThere, toInbox }: Happened): string {
  const said = [tOr("happened.kinds", kind, "happened.kinds.other")];
  if (resent > 0) said.push(t("happened.resent", { count: resent }));
  if (alreadyThere > 0) said.push(t("happened.alreadyThere", { count: alreadyThere }));
  if (toInbox > 0) said.push(t("happened.toInbox", { count: toInbox }));
  return said.join(" ");
}
