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

/** Return how long a Retry-After header asks to wait, in ms; null if it makes no sense. */
export function parseRetryAfter(value: string, nowMs: number): number | null {
  const written = value.trim();
  if (/^[0-9]+$/.test(written))
    return written.length > 12
      ? RETRY_AFTER_YEAR_MS
      : Math.min(Number(written) * 1000, RETRY_AFTER_YEAR_MS);
  const momentMs = httpDateMs(written, nowMs);
  return momentMs === null ? null : Math.min(Math.max(momentMs - nowMs, 0), RETRY_AFTER_YEAR_MS);
}

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DATE =
  /^(?:[A-Za-z]{3,9}, ?)?(?<day>[0-9]{1,2})[ -](?<month>[A-Za-z]{3})[ -](?<year>[0-9]{4}|[0-9]{2}) (?<hour>[0-9]{2}):(?<minute>[0-9]{2}):(?<second>[0-9]{2})(?: (?<zone>GMT|UTC|UT|Z|[+-][0-9]{4}))?$/;
const ASCTIME =
  /^[A-Za-z]{3} (?<month>[A-Za-z]{3}) {1,2}(?<day>[0-9]{1,2}) (?<hour>[0-9]{2}):(?<minute>[0-9]{2}):(?<second>[0-9]{2}) (?<year>[0-9]{4})$/;

/** A moment as HTTP writes it (RFC 9110: any of its three forms); a zone left out is GMT. */
function httpDateMs(written: string, nowMs: number): number | null {
  const found = (DATE.exec(written) ?? ASCTIME.exec(written))?.groups;
  if (found === undefined) return null;
  const number = (name: string) => Number(found[name]);
  const month = MONTHS.indexOf((found["month"] ?? "").toLowerCase());
  let year = number("year");
  if (found["year"]?.length === 2) {
    const thisYear = new Date(nowMs).getUTCFullYear(); // never more than fifty years ahead
    year += thisYear - (thisYear % 100);
    if (year > thisYear + 50) year -= 100;
  }
  const [hour, minute] = [number("hour"), number("minute")];
  const day = number("day");
  if (month < 0 || year < 1 || hour > 23 || minute > 59) return null;
  const moment = new Date(0);
  moment.setUTCFullYear(year, month, day);
  if (moment.getUTCMonth() !== month || moment.getUTCDate() !== day) return null;
  moment.setUTCHours(hour, minute, Math.min(number("second"), 59), 0);
  const zone = found["zone"] ?? "GMT";
  const aheadMs = /^[+-]/.test(zone)
    ? (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3))) *
      60_000 *
      (zone.startsWith("-") ? -1 : 1)
    : 0;
  return moment.getTime() - aheadMs;
}
