/** What one may not do, and whom to ask, by name where names are known. */

import { whoMay } from "../data/names.svelte.js";
import { type Deed, rights } from "../data/rights.svelte.js";
import { formatEither, t } from "../i18n/index.js";

const NAMED_MAX = 3;

export function lockedWords(deed: Deed): string {
  const what = t(`rights.deeds.${deed}`);
  const who = whoMay(deed).slice(0, NAMED_MAX);
  const whom = rights.whoMay(deed);
  return who.length === 0
    ? t(`rights.${whom}`, { what })
    : t(`rights.ask.${whom}`, { what, who: formatEither(who) });
}
