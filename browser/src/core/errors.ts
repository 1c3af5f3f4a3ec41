/**
 * The one exception tree; every error has a stable `code`, the same as in Python.
 *
 * Knows: names and codes. Must not know: HTTP, SQL, or how an error is shown.
 */

export class HoldfastError extends Error {
  /** Written out in each class: errors travel between workers by it, and bundlers rename classes. */
  override readonly name: string = "HoldfastError";
  readonly code: string;
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(message: string, code = "error", detail: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.code = code;
    this.detail = detail;
  }
}

/** A schema or replica program that cannot be used, or a database that does not fit it. */
export class SchemaError extends HoldfastError {
  override readonly name: string = "SchemaError";
  constructor(message: string, code = "schema_invalid") {
    super(message, code);
  }
}

/** A value that does not fit its column: wrong type, out of range, not finite, not text. */
export class BadValue extends HoldfastError {
  override readonly name: string = "BadValue";
  constructor(message: string, code = "bad_value", detail: Readonly<Record<string, unknown>> = {}) {
    super(message, code, detail);
  }
}

/** The local database could not do it; nothing was changed. */
export class DatabaseError extends HoldfastError {
  override readonly name: string = "DatabaseError";
  constructor(message: string, code = "database", detail: Readonly<Record<string, unknown>> = {}) {
    super(message, code, detail);
  }
}

export type ConstraintKind = "unique" | "not_null" | "check" | "foreign_key" | "trigger";

/** A constraint stopped the statement; its kind is its code. */
export class ConstraintFailed extends DatabaseError {
  override readonly name: string = "ConstraintFailed";
  readonly kind: ConstraintKind;

  constructor(message: string, kind: ConstraintKind) {
    super(message, kind);
    this.kind = kind;
  }
}

/** No space left (quota exceeded). The write failed whole; free space and try again. */
export class DatabaseFull extends DatabaseError {
  override readonly name: string = "DatabaseFull";
  constructor(message: string) {
    super(message, "database_full");
  }
}

/** The file is damaged or is not a database. Nothing was deleted. */
export class DatabaseCorrupt extends DatabaseError {
  override readonly name: string = "DatabaseCorrupt";
  constructor(message: string, detail: Readonly<Record<string, unknown>> = {}) {
    super(message, "database_corrupt", detail);
  }
}

/** The replica cannot be opened or the request does not fit its state. */
export class ReplicaError extends HoldfastError {
  override readonly name: string = "ReplicaError";
  constructor(message: string, code = "replica") {
    super(message, code);
  }
}

/** The caller asked for something that does not exist or cannot be done now. */
export class UsageError extends HoldfastError {
  override readonly name: string = "UsageError";
  constructor(message: string, code = "usage") {
    super(message, code);
  }
}

/** An exchange did not succeed. Pending work is kept. */
export class SyncError extends HoldfastError {
  override readonly name: string = "SyncError";
  readonly retryAfterMs: number | null;

  constructor(
    message: string,
    code = "sync",
    retryAfterMs: number | null = null,
    detail: Readonly<Record<string, unknown>> = {},
  ) {
    super(message, code, detail);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The server could not be reached, or what answered was not our server. */
export class Offline extends SyncError {
  override readonly name: string = "Offline";
  constructor(message: string, code = "offline", detail: Readonly<Record<string, unknown>> = {}) {
    super(message, code, null, detail);
  }
}

/** The server answered with 5xx or 429. `Retry-After` is honoured. */
export class ServerTrouble extends SyncError {
  override readonly name: string = "ServerTrouble";
}

/** The token or session is unknown, expired or revoked. Local work goes on; the queue is kept. */
export class SignInNeeded extends SyncError {
  override readonly name: string = "SignInNeeded";
}

/** Client and server do not speak the same protocol or schema. The queue is kept. */
export class UpgradeNeeded extends SyncError {
  override readonly name: string = "UpgradeNeeded";
}

/** Sync has stopped with a stable code (copied replica, other epoch, ...). The queue is kept. */
export class AttentionNeeded extends SyncError {
  override readonly name: string = "AttentionNeeded";
}

/** A file is offered no more under this path. The exchange is repeated, and tells another. */
export class FileGone extends SyncError {
  override readonly name: string = "FileGone";
  constructor(message: string) {
    super(message, "file_gone");
  }
}

/** A file that was fetched cannot be what was offered; nothing of it was believed. The rows come in
 * the answer instead. */
export class FileRefused extends SyncError {
  override readonly name: string = "FileRefused";
  constructor(message: string) {
    super(message, "file_refused");
  }
}

/** The code of anything thrown: ours, or `internal`. */
export function codeOf(error: unknown): string {
  return error instanceof HoldfastError ? error.code : "internal";
}

/** The words of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
