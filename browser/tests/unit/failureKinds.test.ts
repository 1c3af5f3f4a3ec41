/** What kind of failure an error is: first whose it is, then what it is called. */

import { expect, test } from "vitest";

import {
  AttentionNeeded,
  DatabaseFull,
  HoldfastError,
  Offline,
  ServerTrouble,
  SignInNeeded,
  SyncError,
  UpgradeNeeded,
} from "../../src/core/errors.js";
import { failureKind, stateAfter } from "../../src/core/connection/failures.js";

const trouble = (code: string, status: number): ServerTrouble =>
  new ServerTrouble("", code, null, { status });

test.each([
  [trouble("database_full", 503), "server_error", "waiting"],
  [trouble("nonce_mismatch", 500), "server_error", "waiting"],
  [trouble("server_trouble", 502), "server_error", "waiting"],
  [trouble("busy", 503), "too_many_requests", "waiting"],
  [trouble("too_many_streams", 429), "too_many_requests", "waiting"],
  [trouble("too_many_tries", 429), "too_many_requests", "waiting"],
  [trouble("server_trouble", 429), "too_many_requests", "waiting"],
  [new DatabaseFull("no room"), "local", "waiting"],
  [new SyncError("no room", "disk_full"), "local", "waiting"],
  [new SyncError("no place", "file_not_kept"), "local", "waiting"],
  [new Offline("", "not_our_server"), "not_our_server", "offline"],
  [new Offline(""), "network", "offline"],
  [new SignInNeeded("", "sign_in"), "unauthenticated", "needs_sign_in"],
  [new UpgradeNeeded("", "protocol_version"), "protocol_upgrade", "needs_upgrade"],
  [new UpgradeNeeded("", "schema_mismatch"), "schema_mismatch", "needs_attention"],
  [new AttentionNeeded("", "wrong_device"), "nonce_mismatch", "needs_attention"],
  [new HoldfastError("", "other"), "unknown", "waiting"],
  [new Error("not ours"), "unknown", "waiting"],
] as const)("%s", (error, kind, state) => {
  expect(failureKind(error)).toBe(kind);
  expect(stateAfter(error)).toBe(state);
});
