/**
 * What a person can do about a failure, in a sentence they understand.
 *
 * Knows: kinds of failures and stable codes. Must not know: how a failure came about, or is shown.
 * Whose failure it is comes first: a full server and a full device have the same code. Every kind has
 * a sentence, so that no state in which sync stands is without a way out of it.
 */

import { type FailureKind, knownKind } from "./connectivity.js";

const BY_ITSELF = "It is tried again by itself; what waits is kept.";

const BY_KIND: Readonly<Record<FailureKind, string>> = {
  network: `Check the connection and the server's address. ${BY_ITSELF}`,
  timeout: `Check the connection. ${BY_ITSELF}`,
  not_our_server: `Something else answers in the server's place: sign in to this network, or check the server's address. ${BY_ITSELF}`,
  server_error: `The server is in trouble; tell whoever runs it. ${BY_ITSELF}`,
  too_many_requests: `The server has too much to do. ${BY_ITSELF}`,
  local: `This device could not do it; see the message. ${BY_ITSELF}`,
  unauthenticated:
    "Sign in again: enrol this device with a code or a password, or put a valid token in its place. Work goes on here, and what waits is kept.",
  protocol_upgrade:
    "Update the older side, this program or the server. Work goes on here, and what waits is kept.",
  schema_mismatch:
    "This replica was made for another schema than the server has: check that it is the right server, and tell whoever runs it. What waits is kept.",
  nonce_mismatch:
    "This replica was copied, or brought back from an older state. Go on with the original; where there is none, make a new replica, and enter what waits here there. Nothing is deleted here.",
  epoch_mismatch:
    "The server has another history, restored or made anew: tell whoever runs it before anything else. What waits is kept.",
  seal_mismatch:
    "The server has forgotten what it had confirmed, as after a restore from a backup: tell whoever runs it before anything else. What waits is kept.",
  unknown:
    "It is tried again by itself, slowly; should it stay so, pass the message on. What waits is kept.",
};

const BY_CODE: Readonly<Record<string, string>> = {
  wrong_device:
    "The token belongs to another device: put this device's own in its place, or enrol this device again. What waits is kept.",
  sync_elsewhere: "Another process syncs this replica; it goes on when that one is done.",
  sync_silent:
    "The process that syncs this replica stands still: let it go on, or end it and start it again. What waits is kept.",
  database_full: "Free some space on this device; sync goes on by itself.",
  disk_full: "Free some space on this device; sync goes on by itself.",
  database_busy:
    "Another program keeps the replica's file locked: let it commit, or end it. Sync goes on by itself.",
  database_read_only:
    "Let this program write the replica's file and its folder. Sync goes on by itself.",
  database_corrupt:
    "Keep a copy of the replica's file, check the disk, and make a new replica. Nothing is deleted here.",
};

/** Kinds under which a code means what it means on this device. */
const OUR_OWN: ReadonlySet<FailureKind> = new Set(["local", "unknown", "nonce_mismatch"]);

/** What to do about a failure of this kind, under this code; never empty. */
export function wayOut(kind: string, code: string): string {
  const known = knownKind(kind);
  if (OUR_OWN.has(known) && Object.hasOwn(BY_CODE, code)) return BY_CODE[code] ?? BY_KIND[known];
  return BY_KIND[known];
}
