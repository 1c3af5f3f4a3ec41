/** Words for what went wrong: whose it is comes first, and the status and a failed request agree. */

import {
  AttentionNeeded,
  BadValue,
  ConstraintFailed,
  DatabaseError,
  DatabaseFull,
  failureKind,
  HoldfastError,
  Offline,
  ReplicaError,
  ServerTrouble,
  SignInNeeded,
  stateAfter,
  type Status,
  SyncError,
  UpgradeNeeded,
} from "@holdfast/browser";
import { expect, test, vi } from "vitest";

import { t, type Under } from "../../src/i18n/index.js";
import { parkedBy, type Trouble, troubleOf, whyNot } from "../../src/i18n/trouble.js";

// The reader's language is the browser's, which Node does not have.
vi.hoisted(() => vi.stubGlobal("navigator", { language: "en" }));

const server = (code: string, status = 503): ServerTrouble =>
  new ServerTrouble("in the server's words", code, null, { status });

test.each<[HoldfastError, `why.${Trouble}` | "signIn" | "upgrade" | "attention"]>([
  [server("database_full"), "why.server"],
  [server("database"), "why.server"],
  [server("database_corrupt"), "why.server"],
  [server("server_trouble"), "why.server"],
  [server("busy"), "why.busy"],
  [server("too_many_tries", 429), "why.busy"],
  [server("too_many_streams", 429), "why.busy"],
  [new DatabaseFull("SQLITE_FULL"), "why.full"],
  [new SyncError("no space", "disk_full"), "why.full"],
  [new DatabaseError("disk I/O error"), "why.device"],
  [new DatabaseError("answered", "sync_elsewhere"), "why.device"],
  [new Offline("unreachable", "unreachable"), "why.away"],
  [new Offline("a portal", "not_our_server"), "why.portal"],
  [new SignInNeeded("revoked", "sign_in"), "signIn"],
  [new UpgradeNeeded("other protocol", "protocol_version"), "upgrade"],
  [new UpgradeNeeded("other schema", "schema_mismatch"), "attention"],
  [new UpgradeNeeded("a server of last month", "server_older"), "why.older"],
  [new UpgradeNeeded("not served any more", "upgrade_needed"), "upgrade"],
  [new AttentionNeeded("copied", "nonce_mismatch"), "attention"],
])("%s", (error, words) => {
  expect(whyNot(error)).toBe(t(`trouble.${words}`));
  expect(whyNot(error)).not.toContain(error.message);
  const state = stateAfter(error);
  const status = { state, errorKind: failureKind(error), errorCode: error.code } as Status;
  const parked = parkedBy(state);
  expect(parked ?? `why.${String(troubleOf(status))}`).toBe(words);
});

test.each<[Error, `trouble.codes.${Under<"trouble.codes">}`]>([
  [new BadValue("a number must be finite"), "trouble.codes.bad_value"],
  [new ConstraintFailed("UNIQUE constraint failed", "unique"), "trouble.codes.unique"],
  [new ReplicaError("another worker", "opfs_busy"), "trouble.codes.opfs_busy"],
])("what was asked for is told by its code: %s", (error, words) => {
  expect(whyNot(error)).toBe(t(words));
});

test("only what nobody has words for is told in the engine's", () => {
  expect(whyNot(new ConstraintFailed("CHECK failed", "check"))).toContain("CHECK failed");
  expect(whyNot(new Error("odd"))).toContain("odd");
});
