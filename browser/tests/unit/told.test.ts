import { expect, test } from "vitest";

import type { Report } from "../../src/protocol/messages.generated.js";
import { ReportMemory } from "../../src/replica/exchange/reportMemory.js";

const [REPORT, OTHER] = [{ pending: 1 }, { pending: 2 }] as unknown as readonly [Report, Report];

test("a report is told once, until it is another one, or somebody else has stored an answer", () => {
  const told = new ReportMemory();
  expect(told.untold(REPORT, null)).toBe(REPORT);
  told.heard(REPORT, 5);
  expect(told.untold(REPORT, 5)).toBeNull();
  told.heard(undefined, 6); // an exchange that did not tell it again
  expect(told.untold(REPORT, 6)).toBeNull();
  expect(told.untold(OTHER, 6)).toBe(OTHER);
  // It was sent, and perhaps not heard: so the one before counts for nothing.
  expect(told.untold(REPORT, 6)).toBe(REPORT);
  told.heard(REPORT, 7);
  expect(told.untold(REPORT, 8)).toBe(REPORT);
});

test("where the two sides differ nothing counts as told", () => {
  const told = new ReportMemory();
  told.heard(REPORT, 5);
  told.heard(REPORT, null);
  expect(told.untold(REPORT, null)).toBe(REPORT);
});
