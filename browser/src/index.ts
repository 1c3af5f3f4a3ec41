/**
 * What an app imports: `openReplica`, which shares one durable replica among all tabs of an origin, and
 * `Replica`, the same in one thread.
 *
 * Knows: names.
 */

export {
  AttentionNeeded,
  BadValue,
  ConstraintFailed,
  DatabaseCorrupt,
  DatabaseError,
  DatabaseFull,
  HoldfastError,
  Offline,
  ReplicaError,
  SchemaError,
  ServerTrouble,
  SignInNeeded,
  SyncError,
  UpgradeNeeded,
  UsageError,
} from "./core/errors.js";
export type { FailureKind, State } from "./core/connection/connectivity.js";
export type { SideChoice, Side } from "./core/sides.js";
export { SESSION_CONFIG, type SessionConfig } from "./core/sessionEvents.js";
export type { AppRow, AppValue, QueryResult } from "./replica/appValues.js";
export { failureKind, stateAfter } from "./core/connection/failures.js";
export type { Freed, StillHeld } from "./replica/inbox/freeing.js";
export type { HistoryKind } from "./core/connection/history.js";
export type { HistoryEvent } from "./replica/identity/history.js";
export { HOST, type Host } from "./replica/host.js";
export type {
  Chosen,
  Conflict,
  Refused,
  RefusedChange,
  Resolution,
} from "./replica/inbox/inbox.js";
export type { Statement, Transaction } from "./replica/changes/localWork.js";
export type { ReplicaProgram } from "./replica/storage/program.js";
export { Replica, type ReplicaOptions } from "./replica/replica.js";
export type { Loading, Status } from "./replica/storage/status.js";
export type { SyncReport } from "./replica/syncCall.js";
export { HttpTransport, type Transport, type TransportOptions } from "./replica/http/transport.js";
export type { VerifyReport } from "./replica/exchange/verify.js";
export { openMemory, openOpfs, type Opened } from "./sqlite/open.js";
export { openReplica, TabReplica, type TabOptions } from "./tabs/tab.js";
