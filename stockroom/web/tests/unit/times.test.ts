/** Times are told by the corrected clock: a device that is hours ahead has not begun another day. */

import { afterEach, expect, test, vi } from "vitest";

import { correctClock, formatTime } from "../../src/i18n/index.js";

// The reader's language is the browser's, which Node does not have.
vi.hoisted(() => vi.stubGlobal("navigator", { language: "en" }));

const HOUR_MS = 3_600_000;
const at = (day: number, hour: number): number => new Date(2026, 10, day, hour).getTime();

afterEach(() => {
  vi.useRealTimers();
  correctClock(0);
});

test("what happened today has no day, also on a device whose clock is past midnight already", () => {
  vi.useFakeTimers({ now: at(30, 0) });
  expect(formatTime(at(29, 21) * 1000)).toMatch(/29.*21:00/);
  correctClock(-3 * HOUR_MS);
  expect(formatTime(at(29, 21) * 1000)).toBe("21:00");
  expect(formatTime(at(30, 0) * 1000)).toMatch(/30.*00:00/);
});
