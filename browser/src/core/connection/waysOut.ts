/**
 * What a person can do about a failure, in a sentence they understand.
 *
 * Knows: kinds of failures and stable codes. Must not know: how a failure came about, or is shown.
 * Whose failure it is comes first: a full server and a full device have the same code. Every kind has
 * a sentence, so that no state in which sync stands is without a way out of it.
 */

import { type FailureKind, knownKind } from "./connectivity.js";

const BY_ITSELF = "It is retried automatically; pending work is kept.";

const BY_KIND: Readonly<Record<FailureKind, string>> = {
  network: `Check the connection and the server's address. ${BY_ITSELF}`,
  timeout: `Check the connection. ${BY_ITSELF}`,
  not_our_server: `Something else answers in the server's place: sign in to this network, or check the server's address. ${BY_ITSELF}`,
  server_error: `The server has failed; tell its administrator. ${BY_ITSELF}`,
  too_many_requests: `The server is overloaded, or a rate limit was reached. ${BY_ITSELF}`,
  local: `This device could not do it; see the message. ${BY_ITSELF}`,
  unauthenticated:
    "Sign in again: enrol this device with a code or a password, or put a valid token in its place. You can go on working here; pending work is kept.",
  protocol_upgrade:
    "Update the older side, this program or the server. You can go on working here; pending work is kept.",
  schema_mismatch:
    "This replica was made for another schema than the server has: check that it is the right server, and tell its administrator. Pending work is kept.",
  server_older: `The server has to be updated first: this device has a newer version of the app's data. ${BY_ITSELF}`,
  upgrade_needed:
    "Update this app: the server has a newer version of its data, and no longer serves this device's. You can go on working here; pending work is kept, and sent after the update.",
  nonce_mismatch:
    "The server has not recognised this replica several times in a row: another file may be syncing as the same one. Sync by hand, and it becomes a replica of its own. Nothing is deleted here; pending work is kept.",
  epoch_mismatch:
    "The server was put back to a backup several times in a row. Sync by hand, and what it has lost is offered again. Pending work is kept.",
  another_server:
    "This is another server than the one that this replica has synced with. Point the device back to that one; or, if this one takes its place, accept it: run holdfast accept-server on the replica's file. Nothing is deleted here; you can go on working, and pending work is kept.",
  unknown:
    "It is retried automatically, slowly; if it does not go away, report this message. Pending work is kept.",
};

const BY_CODE: Readonly<Record<string, string>> = {
  wrong_device:
    "The token belongs to another device: put this device's own in its place, or enrol this device again. Pending work is kept.",
  number_gap:
    "The server lacks transactions that this replica takes for sent. Close the app, and run holdfast salvage with --force: pending work is offered again as a replica of its own, and this file is kept.",
  sync_elsewhere: "Another process syncs this replica; sync continues when that one is done.",
  sync_silent:
    "The process that syncs this replica does not respond: let it continue, or end it and start it again. Pending work is kept.",
  database_full: "Free some space on this device; sync resumes automatically.",
  disk_full: "Free some space on this device; sync resumes automatically.",
  database_busy:
    "Another program keeps the replica's file locked: let it commit, or end it. Sync resumes automatically.",
  database_read_only:
    "Let this program write the replica's file and its folder. Sync resumes automatically.",
  database_corrupt:
    "The replica's file is damaged: close the app and open it again, or run holdfast salvage. What was not sent is saved from it, the rest is loaded again, and the damaged file is kept. Check the disk.",
  replica_busy:
    "Close every other program that uses the replica's file, and try again. Nothing was changed.",
  schema_needed:
    "Open the damaged file with the app that made it, or run holdfast salvage with --schema. Nothing was changed.",
};

/** Kinds under which a code means what it means on this device. */
const OUR_OWN: ReadonlySet<FailureKind> = new Set(["local", "unknown", "nonce_mismatch"]);

/** Return what to do about a failure of this kind, under this code; never empty. */
export function wayOut(kind: string, code: string): string {
  const known = knownKind(kind);
  if (OUR_OWN.has(known) && Object.hasOwn(BY_CODE, code)) return BY_CODE[code] ?? BY_KIND[known];
  return BY_KIND[known];
}
