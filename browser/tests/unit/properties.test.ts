import * as fc from "fast-check";
import { expect, test } from "vitest";

import { Digest, rowHash } from "../../src/core/digest.js";
import { BadValue } from "../../src/core/errors.js";
import { byCodePoint, keyText, keyValues, type Row } from "../../src/core/keys.js";
import { tableOf } from "../../src/core/schema.js";
import { newSession, step } from "../../src/core/session.js";
import { type SessionEvent, SESSION_CONFIG } from "../../src/core/sessionEvents.js";
import { STATES, FAILURE_KINDS } from "../../src/core/connection/connectivity.js";
import {
  check,
  encode,
  fromBase64,
  fromHex,
  fromWire,
  same,
  toBase64,
  toHex,
  toWire,
  type Value,
  TYPES,
  utf8Length,
} from "../../src/core/values.js";

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const text = fc.string({ unit: "binary" });
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  int64,
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  text,
  fc.uint8Array({ maxLength: 40 }),
);

test("a value that is taken survives the wire, through JSON, exactly", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...TYPES),
      value,
      fc.integer({ min: 0, max: 3 }),
      (type, given, scale) => {
        let stored: Value;
        try {
          stored = check(type, given, scale);
        } catch (error) {
          expect(error).toBeInstanceOf(BadValue);
          return;
        }
        const wire: unknown = JSON.parse(JSON.stringify(toWire(type, stored)));
        expect(same(fromWire(type, wire, scale), stored)).toBe(true);
        expect(same(check(type, stored, scale), stored)).toBe(true);
      },
    ),
    { numRuns: 2000 },
  );
});

test("nothing that JSON can say makes a conversion fail otherwise than by refusing", () => {
  fc.assert(
    fc.property(fc.constantFrom(...TYPES), fc.jsonValue(), (type, wire) => {
      try {
        const stored = fromWire(type, wire);
        expect(toWire(type, stored)).toEqual(wire === null ? null : Object.is(wire, -0) ? 0 : wire);
      } catch (error) {
        expect(error).toBeInstanceOf(BadValue);
      }
    }),
    { numRuns: 2000 },
  );
});

test("bytes survive hex and base64", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
      expect(fromHex(toHex(raw))).toEqual(raw);
      expect(fromBase64(toBase64(raw))).toEqual(raw);
      expect(toBase64(raw)).toBe(Buffer.from(raw).toString("base64"));
    }),
  );
});

test("sizes and order of text are those of its UTF-8 bytes", () => {
  fc.assert(
    fc.property(text, text, (left, right) => {
      expect(utf8Length(left.repeat(9))).toBe(Buffer.byteLength(left) * 9);
      expect(Math.sign(byCodePoint(left, right))).toBe(
        Buffer.compare(Buffer.from(left), Buffer.from(right)),
      );
    }),
    { numRuns: 1000 },
  );
});

test("different rows have different encodings", () => {
  const rows = fc.array(value, { maxLength: 4 });
  fc.assert(
    fc.property(rows, rows, (left, right) => {
      const equal =
        left.length === right.length && left.every((v, at) => same(v, right[at] ?? null));
      const minusZero = [...left, ...right].some((v) => Object.is(v, -0));
      if (!minusZero) expect(toHex(encode(left)) === toHex(encode(right))).toBe(equal);
    }),
  );
});

test("a digest knows no order, and forgets what is removed", () => {
  const key = new Uint8Array(16).fill(7);
  const rows: fc.Arbitrary<Row[]> = fc.array(fc.array(value, { maxLength: 3 }), { maxLength: 8 });
  fc.assert(
    fc.property(rows, rows, (kept, gone) => {
      const hashes = (all: Row[]): Uint8Array[] =>
        all.map((row, at) => rowHash(key, "t", `${at}`, row));
      const [a, b] = [hashes(kept), hashes(gone)];
      const forward = a.reduce((sum, hash) => sum.add(hash), new Digest());
      const backward = [...a].reverse().reduce((sum, hash) => sum.add(hash), new Digest());
      expect(backward.hex).toBe(forward.hex);
      const more = forward.replace([], b).replace(b, []);
      expect([more.count, more.hex]).toEqual([forward.count, forward.hex]);
    }),
  );
});

test("a composite key survives its text, and different keys have different texts", () => {
  const table = tableOf({
    name: "t",
    key: ["a", "n", "b"],
    scopes: ["all"],
    columns: [{ name: "a" }, { name: "n", type: "integer" }, { name: "b", type: "bytes" }],
  });
  const word = fc.oneof(text, fc.string({ unit: fc.constantFrom("%", "/", "2", "5", "F", "a") }));
  const key = fc.tuple(word, int64, fc.uint8Array({ maxLength: 8 }));
  fc.assert(
    fc.property(key, key, (left, right) => {
      const written = keyText(table, left);
      expect(keyValues(table, written)).toEqual(left);
      expect(written === keyText(table, right)).toBe(
        left.every((v, at) => same(v, right[at] ?? null)),
      );
    }),
  );
});

const failure = fc.record({
  kind: fc.constantFrom(...FAILURE_KINDS, "toString", "of the future"),
  retryAfterMs: fc.option(fc.nat()),
});
const event: fc.Arbitrary<SessionEvent> = fc.oneof(
  fc.constantFrom<SessionEvent>(
    ...(
      [
        "local_write",
        "server_moved",
        "stream_up",
        "stream_down",
        "heartbeat",
        "probe_ok",
        "platform_hint",
        "tick",
        "synced",
        "pause",
        "resume",
        "signed_in",
        "stop",
      ] as const
    ).map((type) => ({ type })),
  ),
  fc.record({ type: fc.constant("started" as const), pending: fc.nat(3) }),
  fc.record({
    type: fc.constant("exchange_ok" as const),
    more: fc.boolean(),
    pending: fc.nat(2),
    progressed: fc.boolean(),
  }),
  fc.record({
    type: fc.constant("advanced" as const),
    stage: fc.constantFrom("building", "downloading"),
    done: fc.nat(9),
    total: fc.nat(9),
  }),
  failure.map((failed) => ({ type: "exchange_failed" as const, ...failed })),
  failure.map((failed) => ({ type: "probe_failed" as const, ...failed })),
);
const PARKED = new Set(["needs_sign_in", "needs_attention", "paused", "stopped"]);

test("the session answers every event, never asks for two contacts at once, and never falls asleep", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      fc.array(fc.tuple(event, fc.nat(400_000), fc.double({ noNaN: true, min: 0, max: 0.999 })), {
        maxLength: 60,
      }),
      (events) => {
        let state = newSession(SESSION_CONFIG);
        let nowMs = 0;
        for (const [one, waitMs, draw] of [
          [{ type: "started" }, 0, 0] as [SessionEvent, number, number],
          ...events,
        ]) {
          nowMs += waitMs;
          seen.add(state.connection);
          const wasBusy = state.exchanging || state.probing;
          const answered = one.type.startsWith("exchange_") || one.type.startsWith("probe_");
          const [next, effects] = step(state, one, nowMs, draw);
          const contacts = effects.filter(
            ({ type }) => type === "start_exchange" || type === "start_probe",
          );
          expect(contacts.length).toBeLessThanOrEqual(1);
          if (wasBusy && !answered) expect(contacts).toEqual([]);
          const wakes = effects.filter(({ type }) => type === "wake_at");
          const awake = wakes.length === 1 || next.exchanging || next.probing;
          expect(awake || PARKED.has(next.connection)).toBe(true);
          for (const wake of wakes)
            if (wake.type === "wake_at") expect(wake.atMs).toBeGreaterThan(nowMs);
          state = next;
        }
      },
    ),
    { numRuns: 1500 },
  );
  expect([...seen].sort()).toEqual([...STATES].sort());
});
