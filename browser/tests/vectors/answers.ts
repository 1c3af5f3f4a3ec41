/** How this implementation answers the golden vectors; runs in Node and in a browser alike. */

import { blake2s } from "@noble/hashes/blake2.js";

import {
  BACKOFF,
  budgetReadyAtMs,
  delayMs,
  parseRetryAfter,
  slowDelayMs,
  spreadDelayMs,
  takeRetry,
} from "../../src/core/backoff.js";
import { bestOffset, nextStamp } from "../../src/core/clock.js";
import {
  classify,
  signalOf,
  transition,
  type Signal,
  type State,
} from "../../src/core/connection/connectivity.js";
import { Digest, rowHash } from "../../src/core/digest.js";
import * as errors from "../../src/core/errors.js";
import { BadValue, UsageError } from "../../src/core/errors.js";
import { failureKind, stateAfter } from "../../src/core/connection/failures.js";
import { toldApart } from "../../src/core/connection/generations.js";
import { derivedId, transactionId, uuid7 } from "../../src/core/ids.js";
import { keyValues, rowKey, rowScopes } from "../../src/core/keys.js";
import { tableOf } from "../../src/core/schema.js";
import { type MergePolicy, POLICIES } from "../../src/core/merging/policies.js";
import { chosenSide, type Party, yours } from "../../src/core/sides.js";
import { newSession, step } from "../../src/core/session.js";
import {
  type SessionEvent,
  SESSION_CONFIG,
  type SessionConfig,
} from "../../src/core/sessionEvents.js";
import {
  check,
  type ColumnType,
  encode,
  fromHex,
  fromWire,
  toHex,
  toWire,
} from "../../src/core/values.js";
import { firstHash } from "../../src/protocol/firstSent.js";
import { lineage } from "../../src/replica/migration/lineage.js";
import { wayOut } from "../../src/core/connection/waysOut.js";
import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import { answerReplica } from "./replica.js";
import { tagged, untagged } from "./tags.js";

/* Vectors are data of many shapes, held to by comparing their answers. */
/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return */
type Given = any;

export interface Case {
  readonly name: string;
  readonly in: Given;
  readonly out: unknown;
}

export interface VectorFile {
  readonly about: string;
  readonly cases: readonly Case[];
}

/** snake_case names of the vectors as camelCase, and back. */
function renamed(value: any, name: (key: string) => string): any {
  if (Array.isArray(value)) return value.map((item) => renamed(item, name));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [name(key), renamed(inner, name)]),
  );
}
const camel = (key: string): string =>
  key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const snake = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function refusedOr(compute: () => unknown): unknown {
  try {
    return compute();
  } catch (error) {
    if (error instanceof BadValue) return { error: error.code };
    throw error;
  }
}

function values(given: Given): unknown {
  const type = given.type as ColumnType;
  const scale = (given.scale ?? 0) as number;
  return refusedOr(() => {
    const stored =
      "storage" in given
        ? check(type, untagged(given.storage), scale)
        : fromWire(type, JSON.parse(given.wire), scale);
    return { storage: tagged(stored), wire: toWire(type, stored) };
  });
}

function keys(given: Given): unknown {
  const { columns, scopes, key } = given.table;
  const table = tableOf({
    name: "t",
    key,
    scopes,
    columns: Object.entries(columns).map(([name, type]) => ({ name, type: type as ColumnType })),
  });
  const row = (given.row as unknown[]).map(untagged);
  return refusedOr(() => {
    const text = rowKey(table, row);
    const back = { key: text, values: keyValues(table, text).map(tagged) };
    try {
      return { ...back, scopes: rowScopes(table, row) };
    } catch (error) {
      if (error instanceof BadValue) return { ...back, scopes_error: error.code };
      throw error;
    }
  });
}

function digests(given: Given): unknown {
  if ("blake2s" in given) {
    const key = given.key === undefined ? {} : { key: fromHex(given.key) };
    return toHex(blake2s(fromHex(given.blake2s), { dkLen: given.size, ...key }));
  }
  if ("uuid7_us" in given) return uuid7(BigInt(given.uuid7_us), () => fromHex(given.random));
  if ("transaction_id" in given) return transactionId(() => fromHex(given.transaction_id));
  if ("derived_id" in given) return derivedId(...given.derived_id.map(untagged));
  const hashes = (given.rows as any[]).map((row) =>
    rowHash(fromHex(given.scope_key), row.table, row.key, row.values.map(untagged)),
  );
  const digest = hashes.reduce((sum, hash) => sum.add(hash), new Digest());
  const less = digest.replace(hashes.slice(0, given.removed), []);
  const oneByOne = hashes.slice(0, given.removed).reduce((sum, hash) => sum.remove(hash), digest);
  if (oneByOne.hex !== less.hex) throw new Error("remove and replace differ");
  return {
    hashes: hashes.map(toHex),
    count: digest.count,
    digest: digest.hex,
    less: [less.count, less.hex],
  };
}

function clock(given: Given): unknown {
  if ("stamp" in given) return nextStamp(given.stamp[0], given.stamp[1]);
  const samples = (given.best as number[][]).map(([sentUs = 0, receivedUs = 0, serverUs = 0]) => ({
    sentUs,
    receivedUs,
    serverUs,
  }));
  const best = bestOffset(samples, given.now);
  return best === null ? null : [best.offsetUs, best.errorUs];
}

function backoff(given: Given): unknown {
  if ("retry_after" in given) return parseRetryAfter(given.retry_after, given.now_ms);
  if ("budget" in given) {
    let budget = { ...renamed(given.budget, camel), fullAtMs: 0 };
    let nowMs = 0;
    return (given.after_ms as number[]).map((waitMs) => {
      nowMs += waitMs;
      const taken = takeRetry(budget, nowMs);
      const out = [taken !== null, budgetReadyAtMs(budget, nowMs)];
      budget = taken ?? budget;
      return out;
    });
  }
  const config = { ...BACKOFF, ...renamed(given.config, camel) };
  const draws = given.draws as number[];
  if ("attempt" in given)
    return draws.map((draw) => delayMs(config, given.attempt, draw, given.retry_after_ms));
  return draws.map((draw) => [slowDelayMs(config, draw), spreadDelayMs(config, draw)]);
}

function connectivity(given: Given): unknown {
  if ("way_out" in given) return wayOut(given.way_out as string, given.code as string);
  if ("failure" in given) return [classify(given.failure), signalOf(given.failure)];
  return transition(given.state as State, given.signal as Signal);
}

const KEEPS = ["device", "server", "yours", "other", "mine", "theirs", "Mine", ""];

function sides(given: Given): unknown {
  const party = (name: string): Party => {
    const [user = "", device = ""] = given[name] as string[];
    return { user, device };
  };
  const parties = [party("device"), party("server"), party("asking")] as const;
  const kept = (keep: string): string => {
    try {
      return chosenSide(keep, ...parties);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      return `${error.code}: ${error.message}`;
    }
  };
  return {
    yours: yours(...parties),
    keep: Object.fromEntries(KEEPS.map((keep) => [keep, kept(keep)])),
  };
}

function failures(given: Given): unknown {
  const { status, server } = given as { status?: number; server?: unknown };
  const detail = { ...(status && { status }), ...(server !== undefined && { server }) };
  const made = failed(given.error as string, given.code as string, detail);
  const error = given.own === undefined ? made : toldApart(made, "shop", given.own as number);
  return [failureKind(error), stateAfter(error)];
}

/** An error by its name, under a code; "": the one it has by itself. */
function failed(name: string, code: string, detail: Readonly<Record<string, unknown>>): unknown {
  const under = code === "" ? undefined : code;
  switch (name) {
    case "HoldfastError":
    case "DatabaseError":
    case "ReplicaError":
    case "UsageError":
    case "BadValue":
    case "Offline":
      return new errors[name]("", under);
    case "SyncError":
    case "ServerTrouble":
    case "SignInNeeded":
    case "UpgradeNeeded":
    case "AttentionNeeded":
      return new errors[name]("", under, null, detail);
    case "DatabaseFull":
    case "DatabaseCorrupt":
    case "FileGone":
    case "FileRefused":
      return new errors[name]("");
    default:
      return new Error("not ours");
  }
}

function session(given: Given): unknown {
  const wanted = renamed(given.config, camel);
  const config: SessionConfig = {
    ...SESSION_CONFIG,
    ...wanted,
    backoff: { ...BACKOFF, ...wanted.backoff },
  };
  let state = newSession(config);
  return (given.events as [number, number, unknown][]).map(([nowMs, draw, event]) => {
    const [next, effects] = step(state, renamed(event, camel) as SessionEvent, nowMs, draw);
    state = next;
    return renamed(effects, snake) as unknown;
  });
}

function policies(given: Given): unknown {
  const policy = POLICIES[given.policy as MergePolicy];
  if ("wire" in given) return policy.show(given.wire);
  const { start, replaces, inherits, difference, between, replay } = policy;
  const [now, before, after] = [given.now, given.before, given.after].map(untagged);
  return {
    start: tagged(start),
    replaces,
    inherits,
    said: refusedOr(() => tagged(difference(before ?? null, after ?? null))),
    between: refusedOr(() => between(difference(before ?? null, after ?? null)).map(tagged)),
    replayed: tagged(replay(now ?? null, before ?? null, after ?? null)),
    inserted: tagged(replay(now ?? null, null, after ?? null)),
  };
}

/** Programs by the names of later generations. */
export type Later = Readonly<Record<string, ReplicaProgram>>;

function migrations(given: Given, program: ReplicaProgram, later: Later): unknown {
  if ("first" in given) return firstHash(given.first);
  if (!("way" in given)) return answerReplica(given, program, later);
  const [old, fresh] = given.way.map((schema: unknown) => ({ schema, engine_tables: [] }));
  const { hindrances, gone, tables } = lineage(old, fresh);
  return {
    hindrances: hindrances.map(({ text }) => text),
    gone: gone.map(({ name }) => name),
    tables: Object.fromEntries(
      [...tables].map(([name, one]) => [
        name,
        [one.old.name, one.isReshaped, [...one.converted].sort(), Object.fromEntries(one.columns)],
      ]),
    ),
  };
}

type Answer = (given: Given, program: ReplicaProgram, later: Later) => unknown;

/** The program is of the schema of the cases; compiling one is Python's work. */
export const ANSWERS: Readonly<Record<string, Answer>> = {
  values,
  encoding: (given) => toHex(encode(given.values.map(untagged))),
  keys,
  digests,
  clock,
  backoff,
  connectivity,
  failures,
  sides,
  session,
  replica: answerReplica,
  groups: answerReplica,
  sets: answerReplica,
  policies,
  files: answerReplica,
  migrations,
};

/** Names of the cases of a file that this implementation answers otherwise, with both answers. */
export async function differing(
  family: string,
  file: VectorFile,
  program: ReplicaProgram,
  later: Later = {},
): Promise<string[]> {
  const answer = ANSWERS[family];
  if (answer === undefined) return [`nobody answers ${family}`];
  const found: string[] = [];
  for (const one of file.cases) {
    const [left, right] = [canonical(await answer(one.in, program, later)), canonical(one.out)];
    if (left !== right) found.push(`${one.name}: ${firstDifference(left, right)}`);
  }
  return found;
}

/** Where two texts part, with some of what follows in each. */
function firstDifference(left: string, right: string): string {
  let at = 0;
  while (at < left.length && left[at] === right[at]) at += 1;
  const from = Math.max(0, at - 200);
  return `${left.slice(from, at + 200)} instead of ${right.slice(from, at + 200)}`;
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
