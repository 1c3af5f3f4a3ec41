/**
 * When to try again: full-jitter exponential back-off, Retry-After, and a retry budget.
 *
 * Knows how long to wait after the n-th failure and how many retries a stretch of time may hold.
 * Must not know a clock or a source of randomness. Upholds I29 and I30.
 */

const DOUBLINGS_MAX = 40;
const FLOOR_PART = 10; // a wait is never shorter than a tenth of the base, or jitter may spin
export const RETRY_AFTER_YEAR_MS = 365 * 86_400_000;

export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
  readonly spreadMs: number;
  readonly retryAfterMsMax: number | null;
}

export const BACKOFF: Backoff = {
  baseMs: 1_000,
  capMs: 300_000,
  spreadMs: 2_000,
  retryAfterMsMax: null,
};

/** The wait before retry number `attempt` (1 is the first after a success); `random01` in [0, 1). */
export function delayMs(
  backoff: Backoff,
  attempt: number,
  random01: number,
  retryAfterMs: number | null = null,
): number {
  if (attempt < 1) throw new RangeError(`attempts count from 1, not ${attempt}`);
  let widestMs = backoff.baseMs * 2 ** Math.min(attempt - 1, DOUBLINGS_MAX);
  // The first wait after contact was lost is spread: a whole fleet notices in the same moment.
  if (attempt === 1) widestMs = Math.max(widestMs, backoff.spreadMs);
  widestMs = Math.min(widestMs, backoff.capMs);
  const floorMs = Math.max(1, Math.floor(Math.min(backoff.baseMs, widestMs) / FLOOR_PART));
  const drawnMs = floorMs + Math.trunc(random01 * (widestMs - floorMs));
  if (retryAfterMs === null) return drawnMs;
  const askedMs = Math.min(Math.max(retryAfterMs, 0), backoff.retryAfterMsMax ?? backoff.capMs);
  const apartMs = Math.trunc(random01 * Math.min(backoff.baseMs, backoff.capMs));
  return Math.max(drawnMs, askedMs + apartMs);
}

/** The wait after an error nobody knows: between half of the cap and all of it. */
export function slowDelayMs(backoff: Backoff, random01: number): number {
  const halfMs = Math.floor(backoff.capMs / 2);
  return Math.max(1, halfMs + Math.trunc(random01 * (backoff.capMs - halfMs)));
}

/** The wait before looking after a lost stream. */
export function spreadDelayMs(backoff: Backoff, random01: number): number {
  return Math.trunc(random01 * Math.min(backoff.spreadMs, backoff.capMs));
}

/** A token bucket of retries, kept as the moment at which it will be full again. */
export interface RetryBudget {
  readonly capacity: number;
  readonly refillMs: number;
  readonly fullAtMs: number;
}

/** The earliest moment, now or later, at which there is a token. */
export function budgetReadyAtMs(budget: RetryBudget, nowMs: number): number {
  return Math.max(nowMs, budget.fullAtMs - (budget.capacity - 1) * budget.refillMs);
}

/** The budget with one token less, or null if there is none to take. */
export function takeRetry(budget: RetryBudget, nowMs: number): RetryBudget | null {
  if (budgetReadyAtMs(budget, nowMs) > nowMs) return null;
  return { ...budget, fullAtMs: Math.max(budget.fullAtMs, nowMs) + budget.refillMs };
}

/** How long a Retry-After header asks to wait, in ms; null if it makes no sense. */
export function parseRetryAfter(value: string, nowMs: number): number | null {
  const written = value.trim();
  if (/^[0-9]+$/.test(written))
    return written.length > 12
      ? RETRY_AFTER_YEAR_MS
      : Math.min(Number(written) * 1000, RETRY_AFTER_YEAR_MS);
  if (!/[A-Za-z]{3}/.test(written)) return null; // Date.parse takes much that is no HTTP date
  const momentMs = Date.parse(written);
  if (Number.isNaN(momentMs)) return null;
  return Math.min(Math.max(momentMs - nowMs, 0), RETRY_AFTER_YEAR_MS);
}
