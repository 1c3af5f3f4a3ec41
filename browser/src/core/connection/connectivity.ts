/**
 * Where a replica stands with its server: one complete table of states and signals.
 *
 * Knows the states, which signal leads from which to which, and what kind of failure calls for
 * what. Must not know time, retries or requests. Upholds the truthful half of I29, and I32: every
 * verdict keeps the queue. The table is complete by type, and a vector holds it to Python's.
 */

export const STATES = [
  "starting",
  "online",
  "syncing",
  "offline",
  "waiting",
  "needs_sign_in",
  "needs_upgrade",
  "needs_attention",
  "paused",
  "stopped",
] as const;
export type State = (typeof STATES)[number];

export const SIGNALS = [
  "started",
  "begun",
  "done",
  "reached",
  "lost",
  "deferred",
  "sign_in_required",
  "upgrade_required",
  "attention_required",
  "signed_in",
  "paused",
  "resumed",
  "stopped",
] as const;
export type Signal = (typeof SIGNALS)[number];

type Row = readonly [
  State,
  State,
  State,
  State,
  State,
  State,
  State,
  State,
  State,
  State,
  State,
  State,
  State,
];

const [ST, ON, SY, OF, WA, SI, UP, AT, PA, XX] = STATES;

// Columns in the order of SIGNALS. `needs_upgrade` keeps its name while it looks again, or its
// status would flicker; `needs_sign_in` ends only by signing in, or a pause.
// prettier-ignore
const TABLE: Readonly<Record<State, Row>> = {
  //                start beg done reach lost defer sign upgr attn s.in paus resu stop
  starting:        [ST, SY, ON, ST, OF, WA, SI, UP, AT, ST, PA, ST, XX],
  online:          [ON, SY, ON, ON, OF, WA, SI, UP, AT, ON, PA, ON, XX],
  syncing:         [SY, SY, ON, SY, OF, WA, SI, UP, AT, SY, PA, SY, XX],
  offline:         [OF, SY, ON, WA, OF, WA, SI, UP, AT, OF, PA, OF, XX],
  waiting:         [WA, SY, ON, WA, OF, WA, SI, UP, AT, WA, PA, WA, XX],
  needs_sign_in:   [SI, SI, SI, SI, SI, SI, SI, SI, SI, ST, PA, SI, XX],
  needs_upgrade:   [UP, UP, ON, UP, UP, UP, SI, UP, AT, UP, PA, ST, XX],
  needs_attention: [AT, AT, AT, AT, AT, AT, AT, AT, AT, AT, PA, ST, XX],
  paused:          [PA, PA, PA, PA, PA, PA, PA, PA, PA, PA, PA, ST, XX],
  stopped:         [XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX],
};

const COLUMNS = Object.fromEntries(SIGNALS.map((signal, at) => [signal, at])) as Readonly<
  Record<Signal, number>
>;

/** The state that follows `state` on `signal`. Total: there is an answer for every pair. */
export function transition(state: State, signal: Signal): State {
  return TABLE[state][COLUMNS[signal]] as State;
}

export type FailureVerdict = "retry" | "retry_slowly" | "sign_in" | "upgrade" | "attention";

const FAILURES = {
  network: ["retry", "lost"],
  timeout: ["retry", "lost"],
  not_our_server: ["retry", "lost"],
  server_error: ["retry", "deferred"],
  too_many_requests: ["retry", "deferred"],
  local: ["retry", "deferred"],
  unauthenticated: ["sign_in", "sign_in_required"],
  protocol_upgrade: ["upgrade", "upgrade_required"],
  schema_mismatch: ["attention", "attention_required"],
  server_older: ["retry", "deferred"],
  upgrade_needed: ["upgrade", "upgrade_required"],
  nonce_mismatch: ["attention", "attention_required"],
  epoch_mismatch: ["attention", "attention_required"],
  another_server: ["attention", "attention_required"],
  unknown: ["retry_slowly", "deferred"],
} as const satisfies Record<string, readonly [FailureVerdict, Signal]>;

export type FailureKind = keyof typeof FAILURES;
export const FAILURE_KINDS = Object.keys(FAILURES) as FailureKind[];

/** A kind by its name; one that nobody knows is `unknown`. */
export function knownKind(kind: string): FailureKind {
  return Object.hasOwn(FAILURES, kind) ? (kind as FailureKind) : "unknown";
}

/** Return what a failure of this kind calls for; a kind nobody knows is retried slowly. */
export function classify(kind: string): FailureVerdict {
  return FAILURES[knownKind(kind)][0];
}

/** The signal that a failure of this kind is. */
export function signalOf(kind: string): Signal {
  return FAILURES[knownKind(kind)][1];
}
