/**
 * By which refusals a replica learns that it is taken for another one, or that the server went back.
 */

import { expect, test } from "vitest";
import { AttentionNeeded, Offline } from "../../src/core/errors.js";
import { partingOf } from "../../src/replica/identity/fork.js";

function refusal(code: string, server: Readonly<Record<string, unknown>>): AttentionNeeded {
  return new AttentionNeeded("no", code, null, { server });
}

test("a server that lacks numbers which it has decided was restored", () => {
  expect(partingOf(refusal("number_gap", { high: 0 }))).toEqual({ restored: true, high: 0 });
  expect(partingOf(refusal("epoch_mismatch", { past: true }))).toEqual({ restored: true, high: 0 });
  expect(partingOf(refusal("nonce_mismatch", { high: 4 }))).toEqual({ restored: false, high: 4 });
});

test("any other refusal parts nobody", () => {
  expect(partingOf(refusal("number_gap", {}))).toBeNull();
  expect(partingOf(refusal("epoch_mismatch", { past: false }))).toBeNull();
  expect(partingOf(new Offline("away", "unreachable"))).toBeNull();
});
