/**
 * History of a replica, told in sentences that a person understands.
 *
 * Knows: kinds of events and their counts. Must not know: files, or how an event came about.
 */

/** Kind of event in a replica's history. `copied`: another one goes on as who this one was; `restored`:
 * the file is an older state of itself; `reinitialised`: the device has begun anew with this file;
 * `server_restored`: the server has gone back to a backup; `accepted_server`: a person has said that another
 * server is the one from now on; `migrated`: a newer version of the app has taken the file over. */
export type HistoryKind =
  | "copied"
  | "restored"
  | "reinitialised"
  | "server_restored"
  | "accepted_server"
  | "migrated"
  | "salvaged";

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** The sentences of an event. `sinceUs`: the moment of the older state, µs since 1970; `resent`: how many
 * transactions were sent again, of which `alreadyThere` had arrived before and `toInbox` wait for a
 * person. Empty for a kind that has no words of its own. */
export function historyText(
  kind: string,
  sinceUs: number | null,
  resent: number,
  alreadyThere: number,
  toInbox: number,
): string {
  const words = what(kind, sinceUs === null ? "" : dayOf(sinceUs));
  if (words === "" || resent === 0) return words;
  let there = "";
  if (alreadyThere === resent)
    there = resent === 1 ? ", it had arrived" : ", all of them had arrived";
  else if (alreadyThere > 0) there = `, ${alreadyThere} of them had arrived`;
  const sent = resent === 1 ? "1 change was" : `${resent} changes were`;
  const told = `${words} ${sent} sent again${there}${there === "" ? "" : " already"}.`;
  if (toInbox === 0) return told;
  return `${told} ${toInbox} ${toInbox === 1 ? "waits" : "wait"} in the inbox.`;
}

function what(kind: string, day: string): string {
  switch (kind) {
    case "copied":
      return "This file was copied: from now on it is a replica of its own.";
    case "restored":
      return `This device was restored from ${day === "" ? "an older state" : `a backup of ${day}`}.`;
    case "reinitialised":
      return "This device has begun anew with this file.";
    case "server_restored":
      return "The server was restored from a backup.";
    case "accepted_server":
      return "Another server was accepted in place of the one before.";
    case "migrated":
      return "A new version of the app has taken over what is on this device.";
    default:
      return "";
  }
}

/** A moment's day (UTC): `21 Nov 2026`. */
function dayOf(us: number): string {
  const day = new Date(Math.floor(us / 1000));
  return `${day.getUTCDate()} ${MONTHS[day.getUTCMonth()] ?? ""} ${day.getUTCFullYear()}`;
}
