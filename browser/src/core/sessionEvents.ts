/**
 * What a client session is told and what it asks for: configuration, events and effects.
 *
 * Knows the vocabulary of `core/session` and its driver. Must not know what follows from what.
 */

import { BACKOFF, type Backoff } from "./backoff.js";
import type { State } from "./connection/connectivity.js";

/** A stream is lost after this many heartbeat intervals of silence. */
export const HEARTBEATS_MISSED = 2.5;

/** Configuration of a session; all times in milliseconds. */
export interface SessionConfig {
  readonly backoff: Backoff;
  /** Between exchanges of an idle replica while there is no live stream. */
  readonly pollMs: number;
  /** The same while the stream is up: only a safety net. */
  readonly pollWithStreamMs: number;
  readonly heartbeatMs: number;
  /** Pending work without progress for this long is reported as stalled. */
  readonly watchdogMs: number;
  /** Between two probes that were asked for by hints. */
  readonly hintMs: number;
  readonly budgetCapacity: number;
  readonly budgetRefillMs: number;
}

export const SESSION_CONFIG: SessionConfig = {
  backoff: BACKOFF,
  pollMs: 15_000,
  pollWithStreamMs: 300_000,
  heartbeatMs: 15_000,
  watchdogMs: 120_000,
  hintMs: 1_000,
  budgetCapacity: 20,
  budgetRefillMs: 10_000,
};

/** Return how long a stream may be silent before it counts as lost. */
export function silenceMs(config: SessionConfig): number {
  return Math.trunc(config.heartbeatMs * HEARTBEATS_MISSED);
}

export interface Failed {
  /** As in `FailureKind`; any other string counts as unknown. */
  readonly kind: string;
  readonly retryAfterMs?: number | null;
  readonly code?: string;
  readonly message?: string;
}

export type SessionEvent =
  /** The replica is open and `pending` transactions wait to be sent or answered. */
  | { readonly type: "started"; readonly pending?: number }
  | { readonly type: "local_write" }
  /** The live stream says that one of our scopes has moved. */
  | { readonly type: "server_moved" }
  | { readonly type: "stream_up" }
  | { readonly type: "stream_down" }
  | { readonly type: "heartbeat" }
  | { readonly type: "probe_ok" }
  | ({ readonly type: "probe_failed" } & Failed)
  /** An exchange succeeded and is stored. `progressed`: something was decided or arrived, or nothing was sent. */
  | {
      readonly type: "exchange_ok";
      readonly more?: boolean;
      readonly pending?: number;
      readonly progressed?: boolean;
    }
  | ({ readonly type: "exchange_failed" } & Failed)
  /** A person asked for a sync beside the session, and it is done: the server is there. It may have
   * been asked before its time (Retry-After), for a person decides that. */
  | { readonly type: "synced"; readonly pending?: number }
  /** How far a first load or a large catch-up is: bytes or rows `done` of `total` in a stage. May be
   * sent as often as the driver likes; only what had not come before counts as progress. */
  | {
      readonly type: "advanced";
      readonly stage: string;
      readonly done: number;
      readonly total?: number;
    }
  /** The network may have changed, or a person asks to sync now. */
  | { readonly type: "platform_hint" }
  | { readonly type: "tick" }
  | { readonly type: "pause" }
  | { readonly type: "resume" }
  | { readonly type: "signed_in" }
  /** The replica closes. Final: later events are ignored. */
  | { readonly type: "stop" };

export interface LastError {
  readonly kind: string;
  readonly code: string;
  readonly message: string;
}

/** Status that can truthfully be told to a person. */
export interface SessionStatus {
  readonly state: State;
  readonly retryAtMs: number | null;
  readonly lastError: LastError | null;
  readonly attempt: number;
  readonly stalled: boolean;
  readonly stalledReason: string | null;
}

export type Effect =
  | { readonly type: "start_exchange" }
  | { readonly type: "start_probe" }
  /** Open the live stream, in place of any that is still open. */
  | { readonly type: "open_stream" }
  | { readonly type: "close_stream" }
  /** Set the one timer: send `tick` at this moment. */
  | { readonly type: "wake_at"; readonly atMs: number }
  | { readonly type: "status_changed"; readonly status: SessionStatus };
