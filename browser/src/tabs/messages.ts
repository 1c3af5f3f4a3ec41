/**
 * What tabs and the leader say to each other, over broadcast channels of one origin.
 *
 * Knows: names of channels and locks, and the shape of what travels. Must not know: who leads.
 * Every message is structured-cloned; errors travel as data and are made again on the other side.
 */

import * as errors from "../core/errors.js";
import type { SessionConfig } from "../core/sessionEvents.js";
import type { ReplicaProgram } from "../replica/storage/program.js";

/** Message to a worker before it stands for election. */
export interface LeaderCandidate {
  readonly name: string;
  /** Null: a replica that does not sync (yet). */
  readonly server: string | null;
  /** Null: the browser's cookie for the server says who it is. */
  readonly token: string | null;
  /** Null: what is stored, or else what the server gives. */
  readonly program: ReplicaProgram | null;
  readonly session: SessionConfig | null;
  /** Whether a damaged replica is made anew at once, with all unsent work that can be read. */
  readonly salvage: boolean;
}

/** From a page to its own worker. */
export type Order =
  | { readonly type: "stand"; readonly candidacy: LeaderCandidate }
  /** The leader has fallen silent: take its place. */
  | { readonly type: "steal" }
  | { readonly type: "resign" };

/** On the channel that all hear. */
export type News =
  | { readonly type: "who" }
  /** `generation`: that of the schema which the replica has. */
  | { readonly type: "leader"; readonly leader: string; readonly generation: number }
  /** A worker whose program is of a newer generation asks the leader for its place. */
  | { readonly type: "hand_over"; readonly leader: string; readonly to: string }
  /** The leader has let go of the file for that worker, and waits for its lock to be taken. */
  | { readonly type: "handed_over"; readonly to: string }
  /** Somebody is about to lead; wait for it. */
  | { readonly type: "electing" }
  | { readonly type: "failed"; readonly error: ErrorData };

/** To the leader. */
export interface Request {
  readonly client: string;
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
  /** Of the schema that the page was made for; null: it says none. */
  readonly generation: number | null;
}

/** To one client. */
export type Reply =
  | { readonly type: "answer"; readonly id: number; readonly value: unknown }
  | { readonly type: "error"; readonly id: number; readonly error: ErrorData }
  | { readonly type: "told"; readonly subscription: number; readonly value: unknown };

/** The generation of the schema that a program was compiled from. */
export const generationOf = ({ schema }: ReplicaProgram): number => schema.generation ?? 1;

export const channels = {
  all: (name: string): string => `holdfast:${name}`,
  leader: (name: string, leader: string): string => `holdfast:${name}:leader:${leader}`,
  client: (name: string, client: string): string => `holdfast:${name}:client:${client}`,
};

export const locks = {
  leader: (name: string): string => `holdfast:${name}`,
  /** Held by a page for as long as it lives. */
  client: (name: string, client: string): string => `holdfast:${name}:client:${client}`,
};

export interface ErrorData {
  readonly name: string;
  readonly message: string;
  readonly code: string;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly retryAfterMs: number | null;
}

export function errorData(error: unknown): ErrorData {
  return {
    name: error instanceof Error ? error.name : "Error",
    message: errors.messageOf(error),
    code: errors.codeOf(error),
    detail: error instanceof errors.HoldfastError ? error.detail : {},
    retryAfterMs: error instanceof errors.SyncError ? error.retryAfterMs : null,
  };
}

/** The error again, of its own class where it is one of ours. */
export function errorOf({ name, message, code, detail, retryAfterMs }: ErrorData): Error {
  switch (name) {
    case "SyncError":
      return new errors.SyncError(message, code, retryAfterMs, detail);
    case "Offline":
      return new errors.Offline(message, code, detail);
    case "ServerTrouble":
      return new errors.ServerTrouble(message, code, retryAfterMs, detail);
    case "SignInNeeded":
      return new errors.SignInNeeded(message, code, retryAfterMs, detail);
    case "UpgradeNeeded":
      return new errors.UpgradeNeeded(message, code, retryAfterMs, detail);
    case "AttentionNeeded":
      return new errors.AttentionNeeded(message, code, retryAfterMs, detail);
    case "FileGone":
      return new errors.FileGone(message);
    case "FileRefused":
      return new errors.FileRefused(message);
    case "ConstraintFailed":
      return new errors.ConstraintFailed(message, code as errors.ConstraintKind);
    case "DatabaseFull":
      return new errors.DatabaseFull(message);
    case "DatabaseCorrupt":
      return new errors.DatabaseCorrupt(message, detail);
    case "DatabaseError":
      return new errors.DatabaseError(message, code);
    case "BadValue":
      return new errors.BadValue(message, code);
    case "SchemaError":
      return new errors.SchemaError(message, code);
    case "ReplicaError":
      return new errors.ReplicaError(message, code);
    case "UsageError":
      return new errors.UsageError(message, code);
    default:
      return new errors.HoldfastError(message, code, detail);
  }
}
