/**
 * What has happened to this device's copy of the data: copied, restored, loaded again, and what came of it.
 *
 * Knows: the engine's table of such events. Must not know: how they are worded.
 */

import { asText, asWhole, type Question, select, type Row } from "./rows.js";

const FIELDS = {
  number: asWhole("number"),
  at: asWhole("at"),
  kind: asText("kind"),
  resent: asWhole("resent"),
  alreadyThere: asWhole("already_there"),
  toInbox: asWhole("to_inbox"),
} as const;

export type Happened = Row<typeof FIELDS>;

/** The last events, the newest first. */
export const happened = (count: number): Question<Happened> =>
  select(FIELDS, `FROM holdfast_event ORDER BY number DESC LIMIT ${count}`);
