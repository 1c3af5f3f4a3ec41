/**
 * What a replica takes from the machine it runs on: clocks and randomness, handed in.
 *
 * Knows: nothing but these functions. A test hands in its own.
 */

import type { RandomBytes } from "../core/ids.js";
import { toHex } from "../core/values.js";

export interface Host {
  /** The device's wall clock, microseconds since 1970. */
  readonly nowUs: () => number;
  /** A clock that never goes back, milliseconds. */
  readonly monotonicMs: () => number;
  readonly randomBytes: RandomBytes;
  /** Drawn from [0, 1). */
  readonly random01: () => number;
}

export const HOST: Host = {
  nowUs: () => Date.now() * 1000,
  monotonicMs: () => performance.now(),
  randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
  random01: () => Math.random(),
};

export function randomHex(host: Host, bytes: number): string {
  return toHex(host.randomBytes(bytes));
}
