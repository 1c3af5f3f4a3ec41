/** What a server has not looked at is asked for again, and nothing else. */

import { expect, test } from "vitest";
import type { RangeAnswer, RangeQuery } from "../../src/protocol/messages.generated.js";
import { unseen } from "../../src/replica/exchange/verify.js";

function answer(scope: string, start: string, end: string | null): RangeAnswer {
  return { type: "range", scope, start, end, count: 1, digest: "0".repeat(32) };
}

test("what was looked at whole is done", () => {
  const asked: RangeQuery[] = [{ scope: "a" }, { scope: "b", start: "t/1", end: "t/2" }];
  expect(unseen(asked, [answer("a", "", null), answer("b", "t/1", "t/2")])).toEqual([]);
});

test("of a range that was looked at in part, the rest is asked for", () => {
  const asked: RangeQuery[] = [
    { scope: "a", start: "t/1", end: null },
    { scope: "b", start: "t/1", end: "t/9" },
    { scope: "c" },
  ];
  const answers = [answer("a", "t/1", "t/5"), answer("b", "t/1", "t/5")];
  expect(unseen(asked, answers)).toEqual([
    { scope: "a", start: "t/5", end: null },
    { scope: "b", start: "t/5", end: "t/9" },
    { scope: "c" },
  ]);
});
