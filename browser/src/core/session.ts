/**
 * The client's side of sync as a pure state machine: `step(state, event) -> [state, effects]`.
 *
 * Knows when to exchange, probe, open the live stream, wait and report. Must not know a clock, a
 * socket or the database: a driver feeds it events with a moment and a random number, and carries
 * out the effects. A step is: note the event's facts, then act on the facts that are due, so a
 * late, early or doubled tick does no harm. The twin of `core/session.py`, held to it by vectors.
 *
 * Upholds I29 (no state without a timer or work under way, but for those that wait for a person;
 * one exchange in flight), I30, I32, and of I35 that one session never sends twice at once.
 */

import {
  budgetReadyAtMs,
  delayMs,
  type RetryBudget,
  slowDelayMs,
  spreadDelayMs,
  takeRetry,
} from "./backoff.js";
import {
  classify,
  type Signal,
  signalOf,
  type State,
  transition,
} from "./connection/connectivity.js";
import { LOAD_PLACES_MAX } from "./limits.js";
import {
  type Effect,
  type SessionEvent,
  type Failed,
  type LastError,
  SESSION_CONFIG,
  type SessionConfig,
  type SessionStatus,
  silenceMs,
} from "./sessionEvents.js";

/** States that touch no network and wait for a person. */
const PARKED: ReadonlySet<State> = new Set([
  "needs_sign_in",
  "needs_attention",
  "paused",
  "stopped",
]);
const STREAMLESS: ReadonlySet<State> = new Set([...PARKED, "offline", "needs_upgrade"]);
const RETRYING: ReadonlySet<State> = new Set(["offline", "waiting", "needs_upgrade"]);

/** All a session remembers. Made by `newSession`, changed only by `step`. */
export interface SessionState {
  readonly config: SessionConfig;
  readonly budget: RetryBudget;
  readonly connection: State;
  readonly exchanging: boolean;
  readonly probing: boolean;
  readonly stream: "down" | "opening" | "up";
  /** When the stream last gave a sign of life, or was opened. */
  readonly heardAtMs: number;
  readonly upAtMs: number;
  /** Before this the stream is not opened again. */
  readonly streamAtMs: number;
  /** Losses in a row, reset once a stream has lasted. */
  readonly streamLosses: number;
  /** A local write since the last exchange began. */
  readonly written: boolean;
  /** The server may hold news since the last exchange began. */
  readonly moved: boolean;
  readonly pending: number;
  readonly attempt: number;
  /** Successful exchanges in a row that left work and brought none forward. */
  readonly barren: number;
  /** A probe succeeded, so its exchange rides on the same retry token. */
  readonly earned: boolean;
  /** A new token came while a request with the old one was under way. */
  readonly signedIn: boolean;
  readonly dueAtMs: number | null;
  readonly probeAtMs: number | null;
  readonly hintFreeAtMs: number;
  /** No contact before this: Retry-After, or an empty budget. */
  readonly notBeforeMs: number;
  /** Since when pending work has made no progress. */
  readonly progressAtMs: number;
  /** How far loads have come since the last success; the newest last. */
  readonly reached: readonly Reached[];
  readonly stalled: boolean;
  readonly lastError: LastError | null;
}

export interface Reached {
  readonly stage: string;
  readonly total: number;
  readonly done: number;
}

/** The state of a session that has not been started yet. */
export function newSession(config: SessionConfig = SESSION_CONFIG): SessionState {
  const slowest = Math.floor(config.backoff.capMs / 2);
  return {
    config,
    budget: {
      capacity: config.budgetCapacity,
      refillMs: Math.max(1, Math.min(config.budgetRefillMs, slowest)),
      fullAtMs: 0,
    },
    connection: "starting",
    exchanging: false,
    probing: false,
    stream: "down",
    heardAtMs: 0,
    upAtMs: 0,
    streamAtMs: 0,
    streamLosses: 0,
    written: false,
    moved: false,
    pending: 0,
    attempt: 0,
    barren: 0,
    earned: false,
    signedIn: false,
    dueAtMs: null,
    probeAtMs: null,
    hintFreeAtMs: 0,
    notBeforeMs: 0,
    progressAtMs: 0,
    reached: [],
    stalled: false,
    lastError: null,
  };
}

type Stepped = readonly [SessionState, readonly Effect[]];

/** Take in one event and say what to do. Total: every event is legal in every state. */
export function step(
  before: SessionState,
  event: SessionEvent,
  nowMs: number,
  random01: number,
): Stepped {
  if (before.connection === "stopped") return [before, []];
  const told = status(before);
  const [tended, stream] = tendStream(note(before, event, nowMs, random01), nowMs, random01);
  const [contacted, contact] = makeContact(tended, nowMs);
  const state = watch(contacted, nowMs);
  const effects: Effect[] = [...stream, ...contact];
  const now = status(state);
  if (!sameStatus(now, told)) effects.push({ type: "status_changed", status: now });
  const wake = wakeAtMs(state);
  if (wake !== null) effects.push({ type: "wake_at", atMs: Math.max(wake, nowMs + 1) });
  return [state, effects];
}

/** Return what can be said about `state`; derived, never stored. */
export function status(state: SessionState): SessionStatus {
  const upcoming = RETRYING.has(state.connection) ? nextContact(state) : null;
  return {
    state: state.connection,
    retryAtMs: upcoming === null ? null : upcoming.atMs,
    lastError: state.lastError,
    attempt: state.attempt,
    stalled: state.stalled,
    stalledReason: state.stalled ? stalledReason(state) : null,
  };
}

function sameStatus(left: SessionStatus, right: SessionStatus): boolean {
  const [a, b] = [left.lastError, right.lastError];
  return (
    left.state === right.state &&
    left.retryAtMs === right.retryAtMs &&
    left.attempt === right.attempt &&
    left.stalled === right.stalled &&
    left.stalledReason === right.stalledReason &&
    a?.kind === b?.kind &&
    a?.code === b?.code &&
    a?.message === b?.message
  );
}

// --- facts: what an event says -------------------------------------------------------------------

function note(
  state: SessionState,
  event: SessionEvent,
  nowMs: number,
  random01: number,
): SessionState {
  switch (event.type) {
    case "started": {
      const pending = event.pending ?? 0;
      return signal({ ...state, pending, progressAtMs: nowMs, dueAtMs: nowMs }, "started");
    }
    case "local_write": {
      const progressAtMs = state.pending ? state.progressAtMs : nowMs;
      return { ...state, written: true, pending: Math.max(state.pending, 1), progressAtMs };
    }
    case "server_moved":
      return streamAlive({ ...state, moved: true }, nowMs);
    case "stream_up":
      if (state.stream !== "opening") return state;
      // What happened between the last exchange and now was told to nobody: look.
      return { ...state, stream: "up", heardAtMs: nowMs, upAtMs: nowMs, moved: true };
    case "stream_down":
      return state.stream === "down" ? state : streamLost(state, nowMs, random01);
    case "heartbeat":
      return streamAlive(state, nowMs);
    case "exchange_ok":
      return state.exchanging ? exchanged(state, event, nowMs, random01) : state;
    case "synced": // an exchange that is under way tells soon
      if (state.exchanging) return state;
      return exchanged(
        awoken(state),
        { type: "exchange_ok", pending: event.pending ?? 0 },
        nowMs,
        random01,
      );
    case "advanced":
      return advanced(state, event, nowMs);
    case "exchange_failed":
      return state.exchanging
        ? failed({ ...state, exchanging: false }, event, nowMs, random01)
        : state;
    case "probe_ok":
      if (!state.probing) return state;
      return signal(
        { ...state, probing: false, earned: true, moved: true, dueAtMs: nowMs },
        "reached",
      );
    case "probe_failed":
      return state.probing ? failed({ ...state, probing: false }, event, nowMs, random01) : state;
    case "platform_hint":
      return hinted(state, nowMs);
    case "pause":
      return signal({ ...state, dueAtMs: null, probeAtMs: null, earned: false }, "paused");
    case "resume":
      return atOnceIfMoved(state, signal(state, "resumed"), nowMs);
    case "signed_in": {
      const noted = { ...state, signedIn: state.exchanging || state.probing };
      return atOnceIfMoved(noted, signal(noted, "signed_in"), nowMs);
    }
    case "stop":
      return signal(state, "stopped");
    case "tick":
      return state;
  }
}

function atOnceIfMoved(before: SessionState, after: SessionState, nowMs: number): SessionState {
  return after.connection === before.connection ? before : { ...after, dueAtMs: nowMs };
}

function exchanged(
  state: SessionState,
  event: Extract<SessionEvent, { type: "exchange_ok" }>,
  nowMs: number,
  random01: number,
): SessionState {
  const { config } = state;
  const left = event.pending ?? 0;
  const progressed = event.progressed ?? true;
  const unfinished = (event.more ?? false) || left > 0;
  const barren = unfinished && !progressed ? state.barren + 1 : 0;
  let dueAtMs = nowMs;
  if (barren) dueAtMs = nowMs + delayMs(config.backoff, barren, random01);
  else if (!unfinished) {
    const pollMs = state.stream === "up" ? config.pollWithStreamMs : config.pollMs;
    dueAtMs = nowMs + Math.trunc(pollMs * (0.9 + 0.2 * random01));
  }
  const restartWatch = progressed || !left || !state.pending;
  return signal(
    {
      ...state,
      exchanging: false,
      pending: left || Number(state.written), // a write that came meanwhile is not in its count
      barren,
      reached: [],
      attempt: 0,
      lastError: null,
      notBeforeMs: 0,
      dueAtMs,
      probeAtMs: null,
      progressAtMs: restartWatch ? nowMs : state.progressAtMs,
    },
    "done",
  );
}

/**
 * Bytes or rows have come that had not come before: pending work waits for a good reason. What a new
 * attempt repeats does not count, or one that always breaks at the same place would never be reported.
 */
function advanced(
  state: SessionState,
  event: Extract<SessionEvent, { type: "advanced" }>,
  nowMs: number,
): SessionState {
  const { stage, done, total = 0 } = event;
  const isHere = (place: Reached): boolean => place.stage === stage && place.total === total;
  if (done <= (state.reached.find(isHere)?.done ?? 0)) return state;
  const others = state.reached.filter((place) => !isHere(place));
  const reached = [...others, { stage, total, done }].slice(-LOAD_PLACES_MAX);
  return { ...state, reached, progressAtMs: nowMs };
}

function failed(state: SessionState, event: Failed, nowMs: number, random01: number): SessionState {
  const attempt = state.attempt + 1;
  const verdict = classify(event.kind);
  const retryAfterMs = event.retryAfterMs ?? null;
  let cause = signalOf(event.kind);
  let waitMs: number;
  if (verdict === "retry_slowly" || verdict === "upgrade") {
    waitMs = slowDelayMs(state.config.backoff, random01);
  } else if (verdict === "sign_in" && state.signedIn) {
    // It was the old token that was refused; the new one has not been tried.
    waitMs = 0;
    cause = "deferred";
  } else {
    waitMs = delayMs(state.config.backoff, attempt, random01, retryAfterMs);
  }
  return signal(
    {
      ...state,
      attempt,
      earned: false,
      signedIn: false,
      dueAtMs: nowMs + waitMs,
      notBeforeMs: retryAfterMs === null ? 0 : nowMs + waitMs,
      lastError: { kind: event.kind, code: event.code || event.kind, message: event.message ?? "" },
    },
    cause,
  );
}

function hinted(state: SessionState, nowMs: number): SessionState {
  const { connection } = state;
  if (PARKED.has(connection) || connection === "starting" || connection === "needs_upgrade")
    return state;
  const atMs = Math.max(nowMs, state.hintFreeAtMs);
  if (state.probeAtMs !== null && state.probeAtMs <= atMs) return state;
  return { ...state, probeAtMs: atMs, hintFreeAtMs: atMs + state.config.hintMs };
}

function streamAlive(state: SessionState, nowMs: number): SessionState {
  if (state.stream === "down") return state;
  const lasted = state.stream === "up" && nowMs >= state.upAtMs + silenceMs(state.config);
  return { ...state, heardAtMs: nowMs, streamLosses: lasted ? 0 : state.streamLosses };
}

/** The stream is gone: reopen it later, and look whether the server is, with some spread. */
function streamLost(state: SessionState, nowMs: number, random01: number): SessionState {
  const { backoff, pollMs } = state.config;
  const streamLosses = state.streamLosses + 1;
  const online = state.connection === "online";
  let { probeAtMs, dueAtMs } = state;
  if (streamLosses === 1 && online && probeAtMs === null)
    probeAtMs = nowMs + spreadDelayMs(backoff, random01);
  if (dueAtMs !== null && online) dueAtMs = Math.min(dueAtMs, nowMs + pollMs);
  return {
    ...state,
    stream: "down",
    streamLosses,
    streamAtMs: nowMs + delayMs(backoff, streamLosses, random01),
    probeAtMs,
    dueAtMs,
  };
}

/** Return where a person's own sync has just succeeded, what the session was waiting for is over. */
function awoken(state: SessionState): SessionState {
  if (state.connection === "needs_sign_in") return signal(state, "signed_in");
  return state.connection === "needs_attention" ? signal(state, "resumed") : state;
}

function signal(state: SessionState, cause: Signal): SessionState {
  return { ...state, connection: transition(state.connection, cause) };
}

// --- action: what is due -------------------------------------------------------------------------

function tendStream(state: SessionState, nowMs: number, random01: number): Stepped {
  if (state.stream !== "down") {
    if (STREAMLESS.has(state.connection)) {
      // Given up by us: nothing speaks against opening it at once when we are back.
      const down = { ...state, stream: "down", streamLosses: 0, streamAtMs: nowMs } as const;
      return [down, [{ type: "close_stream" }]];
    }
    if (nowMs >= state.heardAtMs + silenceMs(state.config))
      return [streamLost(state, nowMs, random01), [{ type: "close_stream" }]];
    return [state, []];
  }
  if (state.connection === "online" && nowMs >= state.streamAtMs)
    return [{ ...state, stream: "opening", heardAtMs: nowMs }, [{ type: "open_stream" }]];
  return [state, []];
}

function makeContact(state: SessionState, nowMs: number): Stepped {
  const upcoming = nextContact(state);
  if (upcoming === null || upcoming.atMs > nowMs) return [state, []];
  let { budget } = state;
  if (state.attempt && !state.earned) {
    const taken = takeRetry(budget, nowMs);
    if (taken === null) return [{ ...state, notBeforeMs: budgetReadyAtMs(budget, nowMs) }, []];
    budget = taken;
  }
  const ready: SessionState = { ...state, budget, probeAtMs: null, signedIn: false };
  if (upcoming.contact === "probe") return [{ ...ready, probing: true }, [{ type: "start_probe" }]];
  const begun: SessionState = {
    ...ready,
    exchanging: true,
    earned: false,
    written: false,
    moved: false,
    dueAtMs: null,
  };
  return [signal(begun, "begun"), [{ type: "start_exchange" }]];
}

interface Contact {
  readonly atMs: number;
  readonly contact: "probe" | "exchange";
}

/** The next probe or exchange and its moment (the past: now); null while one is under way. */
function nextContact(state: SessionState): Contact | null {
  if (PARKED.has(state.connection) || state.exchanging || state.probing) return null;
  const wanted: Contact[] = [];
  if (state.connection === "online" && (state.written || state.moved))
    wanted.push({ atMs: 0, contact: "exchange" });
  if (state.dueAtMs !== null)
    wanted.push({
      atMs: state.dueAtMs,
      contact: state.connection === "offline" ? "probe" : "exchange",
    });
  if (state.probeAtMs !== null) wanted.push({ atMs: state.probeAtMs, contact: "probe" });
  if (wanted.length === 0) return null;
  const first = wanted.reduce((least, one) => (one.atMs < least.atMs ? one : least));
  return { atMs: Math.max(first.atMs, state.notBeforeMs), contact: first.contact };
}

function watch(state: SessionState, nowMs: number): SessionState {
  const quietMs = nowMs - state.progressAtMs;
  return { ...state, stalled: state.pending > 0 && quietMs >= state.config.watchdogMs };
}

function stalledReason(state: SessionState): string {
  if (state.lastError !== null) return state.lastError.code;
  if (state.exchanging) return "exchange_hangs";
  return state.connection === "online" ? "no_progress" : state.connection;
}

function wakeAtMs(state: SessionState): number | null {
  if (state.connection === "stopped") return null;
  const moments: number[] = [];
  const upcoming = nextContact(state);
  if (upcoming !== null) moments.push(upcoming.atMs);
  if (state.stream !== "down") moments.push(state.heardAtMs + silenceMs(state.config));
  else if (state.connection === "online") moments.push(state.streamAtMs);
  if (state.pending && !state.stalled) moments.push(state.progressAtMs + state.config.watchdogMs);
  return moments.length === 0 ? null : Math.min(...moments);
}
