/**
 * Time of devices: stamps that never go back, and how far this clock is from the server's.
 *
 * Knows offsets from round trips. Must not know a clock: every moment comes in as an argument, in
 * microseconds since 1970, UTC. Offsets are *server minus device*. Upholds the device's half of I20.
 * What a server makes of a claimed offset is in Python only.
 */

/** How much a device's clock may run away: parts per million. */
export const DRIFT_PPM_MAX = 200;
/** Samples older than this (one hour) say nothing about the clock of now. */
export const SAMPLE_AGE_US_MAX = 3_600_000_000;

/** One round trip: the device's clock before and after, the server's clock in between (µs). */
export interface OffsetSample {
  readonly sentUs: number;
  readonly receivedUs: number;
  readonly serverUs: number;
}

/** A measured offset (server minus device) and the most it can be wrong by, in µs. */
export interface ClockOffset {
  readonly offsetUs: number;
  readonly errorUs: number;
}

function middle(sample: OffsetSample): number {
  return Math.floor((sample.sentUs + sample.receivedUs) / 2);
}

/** The stamp for the next change: now, but always later than the last one given (µs). */
export function nextStamp(lastUs: number, nowUs: number): number {
  return Math.max(nowUs, lastUs + 1);
}

/** The most certain offset among recent round trips (oldest first), or null if there is none. */
export function bestOffset(
  samples: readonly OffsetSample[],
  nowUs: number,
  ageUsMax = SAMPLE_AGE_US_MAX,
  driftPpm = DRIFT_PPM_MAX,
): ClockOffset | null {
  let newest: ClockOffset | null = null;
  let best: ClockOffset | null = null;
  for (const sample of [...samples].reverse()) {
    const ageUs = nowUs - sample.receivedUs;
    if (sample.receivedUs < sample.sentUs || ageUs < 0 || ageUs > ageUsMax) continue;
    const aged: ClockOffset = {
      offsetUs: sample.serverUs - middle(sample),
      errorUs: sample.receivedUs - middle(sample) + Math.ceil((ageUs * driftPpm) / 1_000_000),
    };
    newest ??= aged;
    // Samples from before the clock was set anew contradict the newest: none of them counts.
    if (Math.abs(aged.offsetUs - newest.offsetUs) > aged.errorUs + newest.errorUs) break;
    if (best === null || aged.errorUs < best.errorUs) best = aged;
  }
  return best;
}
