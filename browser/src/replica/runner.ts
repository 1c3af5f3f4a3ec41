/**
 * Background sync: the event-loop driver of the sans-I/O session (`core/session`).
 *
 * Knows: timers and how to carry out effects. Must not know: when something is due.
 * Upholds I29 (nothing pending goes unnoticed) and the truthful status.
 */

import { failureKind } from "../core/connection/failures.js";
import { delayMs } from "../core/backoff.js";
import { HoldfastError, messageOf, Offline, SyncError } from "../core/errors.js";
import { SYNC_REVIVED_MS } from "../core/limits.js";
import { newSession, type SessionState, status as statusOf, step } from "../core/session.js";
import type { SessionEvent, Failed, SessionConfig, SessionStatus } from "../core/sessionEvents.js";
import type { Exchanger } from "./exchange/exchanger.js";
import type { Host } from "./host.js";
import { aside } from "./liveQueries.js";
import { failure } from "./storage/connectionRecord.js";
import type { Known } from "./storage/status.js";
import { barren, type Exchanged } from "./exchange/storeAnswer.js";
import type { Transport } from "./http/transport.js";
import type { Verifier } from "./exchange/verify.js";

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
  /** Set while it waits to begin anew after an unforeseen failure. */
  #resting: ReturnType<typeof setTimeout> | undefined;
  #deaths = 0;
  #revivedAtMs = 0;
  /** Stands for the session: results of one before it count for nothing. */
  #session: object = {};

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

  /** Take in one event and carry out what follows. Whatever goes wrong in an unforeseen way is printed
   * and told, and the session begins anew after a back-off: nothing ends it but `stop`. */
  send(event: SessionEvent): void {
    if (this.#resting !== undefined) {
      // What is under way belongs to a session that is over; what a person wants is done first.
      if (event.type !== "stop" && event.type !== "pause") return;
      this.#wake();
    }
    try {
      this.#send(event);
    } catch (error) {
      this.#rest(error);
    }
  }

  #send(event: SessionEvent): void {
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
        case "status_changed":
          this.#parts.onStatus(this.#knownOf(effect.status));
          break;
      }
  }

  #rest(error: unknown): void {
    console.error("background sync failed with an unexpected error and is started again", error);
    const { config, host } = this.#parts;
    clearTimeout(this.#timer);
    this.#closeStream();
    const now = host.monotonicMs();
    this.#deaths = now - this.#revivedAtMs >= SYNC_REVIVED_MS ? 1 : this.#deaths + 1;
    const waitMs = delayMs(config.backoff, this.#deaths, host.random01());
    const words = `background sync failed with an unexpected error: ${messageOf(error)}`;
    this.#resting = setTimeout(() => this.#begin(), waitMs);
    aside(() =>
      this.#parts.onStatus({
        ...this.known,
        state: "waiting",
        stalled: this.#deaths > 1,
        stalledReason: "internal",
        retryAt: Math.round(host.nowUs() + waitMs * 1000),
        ...failure("unknown", "internal", words),
      }),
    );
  }

  /** A new session: what is still under way answers nobody. */
  #wake(): void {
    clearTimeout(this.#resting);
    this.#resting = undefined;
    this.#revivedAtMs = this.#parts.host.monotonicMs();
    this.#session = {};
    this.#state = newSession(this.#parts.config);
  }

  #begin(): void {
    this.#wake();
    this.send({ type: "started", pending: 1 }); // it is not known: look
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
    const tell = this.#teller();
    try {
      const done = await this.#exchanged();
      this.#parts.onStored(); // now: what follows may fail
      if (done.applied.differing.length > 0 && done.left === 0) {
        await this.#parts.verifier.verify(false);
        this.#parts.onStored();
      }
      tell({
        type: "exchange_ok",
        pending: done.left,
        progressed: !barren(done),
      });
    } catch (error) {
      tell({ type: "exchange_failed", ...failedBy(error) });
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
    const tell = this.#teller();
    try {
      await this.#parts.transport.health();
      tell({ type: "probe_ok" });
    } catch (error) {
      tell({ type: "probe_failed", ...failedBy(error) });
    }
  }

  /** Takes in the result of what this session has begun. */
  #teller(): (event: SessionEvent) => void {
    const session = this.#session;
    return (event) => {
      if (session === this.#session) this.send(event);
    };
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
      errorKind: null,
      errorCode: null,
      errorMessage: null,
      wayOut: null,
      asOf: host.nowUs(),
      ...(status.lastError !== null &&
        failure(status.lastError.kind, status.lastError.code, status.lastError.message)),
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
