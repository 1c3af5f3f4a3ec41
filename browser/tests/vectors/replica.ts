/** How this implementation answers the vectors of whole replicas; runs in Node and in a browser. */

import { blake2s } from "@noble/hashes/blake2.js";

import { HoldfastError, Offline } from "../../src/core/errors.js";
import { byCodePoint } from "../../src/core/keys.js";
import type { SideChoice } from "../../src/core/sides.js";
import { encode, fromBase64, toHex, type Value } from "../../src/core/values.js";
import type {
  Change,
  ExchangeRequest,
  Head,
  Transaction,
} from "../../src/protocol/messages.generated.js";
import { type SpooledAnswer, receive } from "../../src/replica/http/spool.js";
import { LocalDatabase } from "../../src/replica/storage/database.js";
import { Exchanger } from "../../src/replica/exchange/exchanger.js";
import { checkedPath, type FileAnswer } from "../../src/replica/http/downloads.js";
import { HOST, type Host } from "../../src/replica/host.js";
import type { Chosen } from "../../src/replica/inbox/inbox.js";
import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import { Replica } from "../../src/replica/replica.js";
import type { Transport } from "../../src/replica/http/transport.js";
import type { Connection } from "../../src/sqlite/connection.js";
import { openMemory, type Opened } from "../../src/sqlite/open.js";
import { tagged, untagged } from "./tags.js";

interface Round {
  readonly lost?: boolean;
  readonly lines?: readonly string[];
  readonly sent?: number;
  readonly received?: number;
}

interface Step extends Round {
  readonly do: "write" | "exchange" | "resolve" | "retry" | "discard" | "migrate";
  /** The schema of which the file is from now on. */
  readonly to?: string;
  readonly now: number;
  readonly statements?: readonly [string, readonly unknown[]][];
  readonly meanwhile?: readonly [string, readonly unknown[]][];
  /** Of an exchange whose answers offer files. */
  readonly rounds?: readonly Round[];
  readonly files?: Readonly<Record<string, string>>;
  readonly keep?: SideChoice;
  readonly value?: Chosen;
}

const utf8 = new TextEncoder();

/** Random names by the order in which they appear. */
class Names {
  readonly #known = new Map([["", 0]]);

  of(name: string): number {
    const known = this.#known.get(name) ?? this.#known.size;
    this.#known.set(name, known);
    return known;
  }
}

const placeOf = (change: Change): string => JSON.stringify([change.table, change.key]);
const byPlace = (a: Change, b: Change): number => byCodePoint(placeOf(a), placeOf(b));

/** The changes of a transaction as the set it is. */
const changesOf = ({ changes }: Transaction): object[] =>
  [...changes].sort(byPlace).map(withoutDefaults);

/** A request as it is compared: without random names, and each transaction as the set it is. */
function plain(request: ExchangeRequest, names: Names): object {
  const { report, nonce, files, replica, transactions = [], ...rest } = request;
  if (!/^[0-9a-f]{32}$/.test(replica ?? "")) throw new Error("a replica has 128 random bits");
  if (files !== undefined && files[0] !== "gzip") throw new Error("it takes gzip");
  return {
    ...withoutDefaults(rest),
    reports: report !== undefined,
    nonce: [names.of(nonce.since), names.of(nonce.to)],
    transactions: transactions.map(({ id, changes, first, ...others }) => {
      if (!/^[0-9a-f]{32}$/.test(id)) throw new Error("a transaction has 128 random bits");
      const sorted = [...changes].sort(byPlace);
      return { ...others, changes: sorted, ...(first ? { first: true } : {}) };
    }),
  };
}

/** A transport that answers with what was recorded, and keeps what it was asked. */
class Recorded implements Transport {
  step: Step = { do: "exchange", now: 0 };
  asked: object[] = [];
  /** What a person does while an exchange is under way. */
  meanwhile: (statements: readonly [string, readonly unknown[]][]) => Promise<void> = () =>
    Promise.resolve();
  readonly #names = new Names();
  readonly #ids = new Map<number, string>();

  async exchange(request: ExchangeRequest): Promise<SpooledAnswer> {
    const asked = plain(request, this.#names);
    const { rounds } = this.step;
    const given = rounds === undefined ? this.step : rounds[this.asked.length];
    if (given === undefined) throw new Error("nobody expects another round");
    const files = (request.files ?? []).length > 0;
    this.asked.push(rounds === undefined ? asked : { ...asked, files });
    for (const { number, id } of request.transactions ?? []) this.#ids.set(number, id);
    await this.meanwhile(this.step.meanwhile ?? []);
    if (given.lost) throw new Offline("the answer was lost", "timeout");
    const lines = [...(given.lines ?? [])];
    const head = JSON.parse(lines.shift() ?? "{}") as Head;
    const outcomes = (head.outcomes ?? []).map((one) => ({
      ...one,
      id: this.#ids.get(one.number),
    }));
    const echo = "an-echo";
    const body = [JSON.stringify({ ...head, outcomes, echo }), ...lines]
      .map((line) => `${line}\n`)
      .join("");
    const by = { echo, sentUs: given.sent ?? 0, receivedUs: given.received ?? 0 };
    return await receive(inPieces(utf8.encode(body)), by);
  }

  async file<T>(
    path: string,
    { start, sha256 }: { readonly start: number; readonly sha256: string },
    read: (answer: FileAnswer) => Promise<T>,
  ): Promise<T> {
    if (!checkedPath(path).endsWith(sha256)) throw new Error("another file");
    const body = fromBase64(this.step.files?.[sha256] ?? "");
    return await read({ start, pieces: inPieces(body.subarray(start)) });
  }
  verify(): Promise<never> {
    throw new Error("nothing differs here");
  }
  health(): Promise<never> {
    throw new Error("nobody asks");
  }
  program(): Promise<never> {
    throw new Error("nobody asks");
  }
  async *events(): AsyncIterable<never> {
    // None.
  }
  close(): void {
    // Nothing is open.
  }
}

async function* inPieces(body: Uint8Array): AsyncIterable<Uint8Array> {
  for (let start = 0; start < body.length; start += 333)
    yield await Promise.resolve(body.subarray(start, start + 333));
}

class Actor {
  readonly transport = new Recorded();
  readonly #host: Host;
  #replica!: Replica;
  #exchanger!: Exchanger;
  #connection!: Connection;
  #nowUs = 0;

  private constructor(opened: Opened, program: ReplicaProgram) {
    this.#host = {
      nowUs: () => this.#nowUs,
      monotonicMs: () => 0,
      randomBytes: HOST.randomBytes,
      random01: () => 0,
    };
    this.transport.meanwhile = (statements) =>
      this.#write(statements).catch((error: unknown) => {
        if (!(error instanceof HoldfastError)) throw error; // it may fail
      });
    this.#open(opened, program);
  }

  #open(opened: Opened, program: ReplicaProgram): void {
    const { connection } = opened;
    this.#connection = connection;
    this.#replica = Replica.open({
      opened,
      program,
      transport: this.transport,
      host: this.#host,
    });
    const database = LocalDatabase.open(connection, null, () => undefined);
    this.#exchanger = new Exchanger(database, opened.keep, this.transport, this.#host, (work) =>
      Promise.resolve().then(work),
    );
  }

  /** Open the file again, with the program of a later generation. */
  async migrate({ now }: Step, program: ReplicaProgram): Promise<void> {
    const image = this.#connection.serialize();
    await this.#replica.close();
    this.#nowUs = now;
    this.#open(await openMemory(image), program);
  }

  static async open(program: ReplicaProgram): Promise<Actor> {
    return new Actor(await openMemory(), program);
  }

  /** Do one step; the code of the error it ended with. */
  async take(step: Step): Promise<string | null> {
    this.#nowUs = step.now;
    this.transport.step = step;
    this.transport.asked = [];
    try {
      await this.#do(step);
      return null;
    } catch (error) {
      if (error instanceof HoldfastError) return error.code;
      throw error;
    }
  }

  async #write(statements: readonly [string, readonly unknown[]][]): Promise<void> {
    const all = statements.map(([sql, params]) => ({ sql, params: params.map(untagged) }));
    await this.#replica.write(all);
  }

  async #do(step: Step): Promise<void> {
    const replica = this.#replica;
    if (step.do === "write") await this.#write(step.statements ?? []);
    else if (step.do === "exchange") await this.#exchanger.exchange();
    else if (step.do === "migrate") throw new Error("it is not done like other steps");
    else if (step.do === "resolve") {
      const [conflict] = await replica.conflicts();
      const by = step.value === undefined ? { keep: step.keep ?? "mine" } : { value: step.value };
      if (conflict) await replica.resolve(conflict.id, by);
    } else {
      const [item] = await replica.refused();
      if (item) await replica[step.do](item.id);
    }
  }

  rows(sql: string): readonly (readonly Value[])[] {
    return this.#connection.execute(sql);
  }

  /** A hash of all rows, of every row's state, and of what waits for a person. */
  async seen(): Promise<string> {
    const lines: string[] = [];
    const { schema, engine_tables } = this.#replica.program;
    for (const { name, columns } of [...schema.tables, ...engine_tables]) {
      const names = columns.map((column) => `"${column.name}"`).join(", ");
      for (const row of this.rows(`SELECT ${names} FROM ${name}`))
        lines.push(`${name} ${toHex(encode(row))}`);
    }
    for (const row of this.rows("SELECT tbl, key, state FROM holdfast_row_status"))
      lines.push(JSON.stringify(row));
    for (const item of await this.#replica.refused())
      lines.push(`${item.number} ${item.state} ${item.code} ${item.field} ${item.heldBy}`);
    // In the order of Python's strings, which is that of UTF-8.
    const sorted = lines.map((line) => [line, toHex(utf8.encode(line))] as const);
    sorted.sort(([, a], [, b]) => (a < b ? -1 : a > b ? 1 : 0));
    const text = sorted.map(([line]) => line).join("\n");
    return toHex(blake2s(utf8.encode(text), { dkLen: 16 }));
  }

  close(): Promise<void> {
    return this.#replica.close();
  }
}

function asked(step: Step, requests: readonly object[]): object {
  if (step.rounds !== undefined) return { requests };
  return step.do === "exchange" ? { request: requests[0] } : {};
}

/** The answer to `replica` and to `files`; `later`: programs of later generations. */
export async function answerReplica(
  given: { readonly steps: readonly Step[] },
  program: ReplicaProgram,
  later: Readonly<Record<string, ReplicaProgram>> = {},
): Promise<unknown> {
  const actor = await Actor.open(program);
  const steps: unknown[] = [];
  for (const step of given.steps) {
    const next = later[step.to ?? ""];
    if (next !== undefined) await actor.migrate(step, next);
    const error = next === undefined ? await actor.take(step) : null;
    steps.push({
      seen: await actor.seen(),
      ...asked(step, actor.transport.asked),
      ...(error === null ? {} : { error }),
    });
  }
  const scopes = actor
    .rows("SELECT scope, version, count, digest FROM holdfast_scope ORDER BY scope")
    .map((row) => row.map(tagged));
  const kept = actor
    .rows("SELECT number, body FROM holdfast_kept ORDER BY number")
    .map(([number, body]) => [Number(number), changesOf(JSON.parse(String(body)) as Transaction)]);
  await actor.close();
  return { steps, scopes, ...(Object.keys(later).length > 0 ? { kept } : {}) };
}

/** As Python writes a request: what has its default is left out. */
function withoutDefaults(request: object): object {
  const kept = Object.entries(request).filter(([, value]: [string, unknown]) =>
    typeof value === "object" && value !== null
      ? Object.keys(value).length > 0
      : value !== "" && value !== 0,
  );
  return Object.fromEntries(kept);
}
