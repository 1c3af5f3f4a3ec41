/**
 * Signs of life from the middle of long work, for whoever would take silence for a hang.
 *
 * Knows: a clock. Must not know: who listens, or what is worked on.
 * No timer runs while a worker works, however long a statement or a commit takes. So the work says by
 * itself that it gets on, wherever it does: SQLite's steps, writes to the disk, rows that are looked at.
 * Only work of ours does, whose end is known to come: what an app asks may never end.
 */

import { LEADER_BEAT_MS } from "../core/limits.js";

export class ProgressSignal {
  readonly #nowMs: () => number;
  readonly #told: () => void;
  #toldAtMs = -Infinity;

  /** `told` hears of it every two seconds at most. */
  constructor(nowMs: () => number, told: () => void) {
    this.#nowMs = nowMs;
    this.#told = told;
  }

  /** The work has got on. */
  readonly beat = (): void => {
    const nowMs = this.#nowMs();
    if (nowMs - this.#toldAtMs < LEADER_BEAT_MS) return;
    this.#toldAtMs = nowMs;
    this.#told();
  };
}
