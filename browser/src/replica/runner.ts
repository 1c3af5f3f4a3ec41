/**
 * Background sync: the event-loop driver of the sans-I/O session (`core/session`).
 *
 * Knows: timers and how to carry out effects. Must not know: when something is due.
 * Upholds I29 (nothing pending goes unnoticed) and the truthful status.
 */

import { knownKind } from "../core/connectivity.js";
import { failureKind } from "../core/failureKinds.js";
import { HoldfastError, messageOf, Offline, SyncError } from "../core/errors.js";
import { newSession, type SessionState, status as statusOf, step } from "../core/session.js";
import type { Event, Failed, SessionConfig, SessionStatus } from "../core/sessionEvents.js";
import type { Exchanger } from "./exchange.js";
import type { Host } from "./host.js";
import type { Known } from "./status.js";
import { type Exchanged, progressed } from "./store.js";
import type { Transport } from "./transport.js";
import type { Verifier } from "./verify.js";

/** Browsers keep a timer's delay in 31 bits; the session is asked again in between. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export interface RunnerParts {
  readonly exchanger: Exchanger;
  readonly verifier: Verifier;
  readonly transport: Transport;
  readonly host: Host;
  readonly config: SessionConfig;
  readonly onStatus: (known: Known) => void;
  /** News were applied or outcomes stored: what is shown may have changed. */
  readonly onStored: () => void;
}

/** Keeps one replica in sync until it is stopped. */
export class Runner {
  readonly #parts: RunnerParts;
  #state: SessionState;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stream: AbortController | null = null;
  readonly #working = new Set<Promise<void>>();

  constructor(parts: RunnerParts) {
    this.#parts = parts;
    this.#state = newSession(parts.config);
  }

  start(pending: number): void {
    this.send({ type: "started", pending });
  }

  get known(): Known {
    return this.#knownOf(statusOf(this.#state));
  }

  /** Take in one event and carry out what follows. */
  send(event: Event): void {
    const { host } = this.#parts;
    const [next, effects] = step(this.#state, event, host.monotonicMs(), host.random01());
    if (next.connection === "stopped" && this.#state.connection === "stopped") return;
    this.#state = next;
    clearTimeout(this.#timer);
    for (const effect of effects)
      switch (effect.type) {
        case "start_exchange":
          this.#work(() => this.#exchange());
          break;
        case "start_probe":
          this.#work(() => this.#probe());
          break;
        case "open_stream":
          this.#closeStream();
          this.#listen();
          break;
        case "close_stream":
          this.#closeStream();
          break;
        case "wake_at":
          this.#wakeAt(effect.atMs);
          break;
        case "report":
          this.#parts.onStatus(this.#knownOf(effect.status));
          break;
      }
  }

  /** Stop for good; resolves when nothing is under way any more. The caller closes the transport. */
  async stop(): Promise<void> {
    this.send({ type: "stop" });
    clearTimeout(this.#timer);
    this.#closeStream();
    await Promise.all(this.#working);
  }

  #wakeAt(atMs: number): void {
    const waitMs = Math.min(Math.max(0, atMs - this.#parts.host.monotonicMs()), TIMER_MS_MAX);
    this.#timer = setTimeout(() => this.send({ type: "tick" }), waitMs);
  }

  #work(run: () => Promise<void>): void {
    const one = run().finally(() => this.#working.delete(one));
    this.#working.add(one);
  }

  async #exchange(): Promise<void> {
    try {
      const done = await this.#exchanged();
      this.#parts.onStored(); // now: what follows may fail
      if (done.applied.differing.length > 0 && done.left === 0) {
        await this.#parts.verifier.verify(false);
        this.#parts.onStored();
      }
      this.send({
        type: "exchange_ok",
        pending: done.left,
        progressed: progressed(done) || done.left === 0,
      });
    } catch (error) {
      this.send({ type: "exchange_failed", ...failedBy(error) });
    }
  }

  /** One exchange. One that was ended for a pause which is over by now has not failed: it is made anew. */
  async #exchanged(): Promise<Exchanged> {
    for (;;)
      try {
        return await this.#parts.exchanger.exchange();
      } catch (error) {
        const interrupted = error instanceof Offline && error.code === "interrupted";
        const { connection } = this.#state;
        if (!interrupted || connection === "paused" || connection === "stopped") throw error;
      }
  }

  async #probe(): Promise<void> {
    try {
      await this.#parts.transport.health();
      this.send({ type: "probe_ok" });
    } catch (error) {
      this.send({ type: "probe_failed", ...failedBy(error) });
    }
  }

  #listen(): void {
    const stream = new AbortController();
    this.#stream = stream;
    this.#work(async () => {
      try {
        for await (const { kind } of this.#parts.transport.events(stream.signal)) {
          if (stream.signal.aborted) return;
          if (kind === "hello") this.send({ type: "stream_up" });
          else this.send({ type: kind === "moved" ? "server_moved" : "heartbeat" });
        }
      } catch {
        // Why a stream ended changes nothing: the session looks whether the server is there.
      }
      if (this.#stream === stream) {
        this.#stream = null;
        this.send({ type: "stream_down" });
      }
    });
  }

  #closeStream(): void {
    const stream = this.#stream;
    this.#stream = null; // before its end is told: a closed stream sends no more events
    stream?.abort();
  }

  #knownOf(status: SessionStatus): Known {
    const { host } = this.#parts;
    const leftMs =
      status.retryAtMs === null ? null : Math.max(0, status.retryAtMs - host.monotonicMs());
    return {
      state: status.state,
      retryAt: leftMs === null ? null : Math.round(host.nowUs() + leftMs * 1000),
      attempt: status.attempt,
      stalled: status.stalled,
      stalledReason: status.stalledReason,
      errorKind: status.lastError === null ? null : knownKind(status.lastError.kind),
      errorCode: status.lastError?.code ?? null,
      errorMessage: status.lastError?.message ?? null,
    };
  }
}

function failedBy(error: unknown): Failed {
  if (!(error instanceof HoldfastError)) return { kind: "unknown", message: messageOf(error) };
  return {
    kind: failureKind(error),
    retryAfterMs: error instanceof SyncError ? error.retryAfterMs : null,
    code: error.code,
    message: error.message,
  };
}
