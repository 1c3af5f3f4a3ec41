/**
 * The way to the server: requests by `fetch`, and answers believed only when whole and ours.
 *
 * Knows: HTTP, how the device is authenticated, and which answers are ours. Must not know: the
 * replica's database, what a message does, or when to try again. Upholds I31 (every wait and every
 * body is bounded); redirects are not followed, so a token goes to the configured server only.
 */

import {
  HoldfastError,
  messageOf,
  Offline,
  ReplicaError,
  SignInNeeded,
} from "../../core/errors.js";
import {
  COMPRESSION_RATIO_MAX,
  CONNECT_TIMEOUT_MS,
  GZIP_FLOOR_BYTES,
  PROGRAM_BYTES_MAX,
  READ_TIMEOUT_MS,
  REQUEST_DEADLINE_MS,
  SMALL_BODY_BYTES_MAX,
  WIRE_INTEGER_MAX,
} from "../../core/limits.js";
import type { ExchangeRequest, VerifyRequest } from "../../protocol/messages.generated.js";
import type { ReplicaProgram } from "../../protocol/program.generated.js";
import { type SpooledAnswer, joined, receive } from "./spool.js";
import { checkedPath, type FileAnswer, openedFile, rangeHeaders } from "./downloads.js";
import { failureOf, incomplete, mediaType, notOurs } from "../failures.js";
import { type Host, randomHex } from "../host.js";
import { type LiveEvent, parseEvents } from "./live.js";

const ECHO = "holdfast-echo";
const NDJSON = "application/x-ndjson";

export interface TransportOptions {
  /** Origin, and path if the server is mounted below one. */
  readonly server: string;
  /** Asked before each request; null: the browser's cookie for the server says who it is. */
  readonly token: (() => string) | null;
  readonly host: Host;
  readonly readTimeoutMs?: number;
  readonly deadlineMs?: number;
  readonly fetch?: typeof fetch;
}

export interface Health {
  readonly serverUs: number;
  readonly sentUs: number;
  readonly receivedUs: number;
}

/** Transport: the way from a replica to its server. All methods throw the `SyncError` tree. */
/** The part of a file that is asked for: from byte `start` on, until `stopped` ends it. */
export interface FilePart {
  readonly start: number;
  readonly sha256: string;
  readonly stopped: AbortSignal;
}

export interface Transport {
  exchange(request: ExchangeRequest): Promise<SpooledAnswer>;
  verify(request: VerifyRequest): Promise<SpooledAnswer>;
  health(): Promise<Health>;
  program(): Promise<ReplicaProgram>;
  /** The live stream, until `signal` ends it. */
  events(signal: AbortSignal): AsyncIterable<LiveEvent>;
  /** A file that an exchange has offered; `read` has it until it returns. Throws `Offline`
   * (`interrupted`) when it is stopped. */
  file<T>(path: string, from: FilePart, read: (answer: FileAnswer) => Promise<T>): Promise<T>;
  /** End what is under way, and refuse the rest. */
  close(): void;
}

export class HttpTransport implements Transport {
  readonly #base: string;
  readonly #options: TransportOptions;
  readonly #fetch: typeof fetch;
  readonly #closed = new AbortController();

  constructor(options: TransportOptions) {
    this.#base = checkedUrl(options.server);
    this.#options = options;
    this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  exchange(request: ExchangeRequest): Promise<SpooledAnswer> {
    return this.#post("/v1/exchange", request);
  }

  verify(request: VerifyRequest): Promise<SpooledAnswer> {
    return this.#post("/v1/verify", request);
  }

  async health(): Promise<Health> {
    const nonce = randomHex(this.#options.host, 8);
    const sentUs = this.#options.host.nowUs();
    let receivedUs = sentUs;
    const path = `/v1/health?nonce=${nonce}`;
    const call = { path, echo: nonce, signed: false, deadlineMs: 2 * CONNECT_TIMEOUT_MS };
    const text = await this.#call(call, "application/json", async (pieces) => {
      receivedUs = this.#options.host.nowUs();
      return await textOf(pieces, SMALL_BODY_BYTES_MAX);
    });
    const found = parsed(text) as { nonce?: unknown; time?: unknown } | null;
    if (
      found?.nonce !== nonce ||
      typeof found.time !== "number" ||
      Math.abs(found.time) > WIRE_INTEGER_MAX
    )
      throw notOurs("its health check returned another request's nonce");
    return { serverUs: found.time, sentUs, receivedUs };
  }

  async program(): Promise<ReplicaProgram> {
    const call = { path: "/v1/program", echo: randomHex(this.#options.host, 12) };
    const text = await this.#call(call, "application/json", (pieces) =>
      textOf(pieces, PROGRAM_BYTES_MAX),
    );
    return parsed(text) as ReplicaProgram;
  }

  async file<T>(
    path: string,
    from: FilePart,
    read: (answer: FileAnswer) => Promise<T>,
  ): Promise<T> {
    const url = this.#base + checkedPath(path);
    try {
      return await this.#patiently(undefined, async (patience, signal) => {
        const response = await this.#fetch(url, {
          ...this.#way(),
          credentials: "omit", // its path is all that is needed
          headers: rangeHeaders(from.start, from.sha256),
          signal: AbortSignal.any([signal, from.stopped]),
        });
        const start = openedFile(response, from.start, this.#options.host.nowUs() / 1000);
        return await read({ start, pieces: patience.watched(body(response)) });
      });
    } catch (error) {
      if (from.stopped.aborted && !this.#isClosed())
        throw new Offline("the request was interrupted", "interrupted");
      throw error;
    }
  }

  async *events(signal: AbortSignal): AsyncIterable<LiveEvent> {
    const echo = randomHex(this.#options.host, 8);
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    try {
      const response = await this.#fetch(this.#base + "/v1/events", {
        ...this.#way(),
        headers: { ...this.#sign(), [ECHO]: echo, accept: "text/event-stream" },
        signal: ended,
      });
      await this.#mustBe(response, "text/event-stream", echo);
      yield* parseEvents(body(response));
    } catch (error) {
      if (ended.aborted) return;
      throw explained(error, null);
    }
  }

  close(): void {
    this.#closed.abort();
  }

  async #post(path: string, message: ExchangeRequest | VerifyRequest): Promise<SpooledAnswer> {
    const { host } = this.#options;
    const echo = randomHex(host, 12);
    const plain = new TextEncoder().encode(JSON.stringify(message));
    const headers: Record<string, string> = { "content-type": "application/json", accept: NDJSON };
    let sentBody: Uint8Array = plain;
    if (plain.length > GZIP_FLOOR_BYTES) {
      const packed = await gzip(plain);
      // What shrinks too well would look like a bomb; it goes up as it is.
      if ((packed.length * COMPRESSION_RATIO_MAX) / 2 > plain.length) {
        sentBody = packed;
        headers["content-encoding"] = "gzip";
      }
    }
    const sentUs = host.nowUs();
    return await this.#call({ path, echo, headers, body: sentBody }, NDJSON, (pieces) =>
      receive(pieces, { echo, sentUs, receivedUs: host.nowUs() }),
    );
  }

  /** Send it; the answer's body is read by `read`, and failures of the way are explained. */
  async #call<T>(
    call: {
      readonly path: string;
      readonly echo: string;
      readonly headers?: Record<string, string>;
      readonly body?: Uint8Array;
      readonly signed?: boolean;
      readonly deadlineMs?: number;
    },
    kind: string,
    read: (pieces: AsyncIterable<Uint8Array>) => Promise<T>,
  ): Promise<T> {
    return await this.#patiently(call.deadlineMs, async (patience, signal) => {
      const headers = {
        ...(call.signed === false ? {} : this.#sign()),
        ...call.headers,
        [ECHO]: call.echo,
      };
      const request: RequestInit = { ...this.#way(), headers, signal };
      if (call.body !== undefined) {
        request.method = "POST";
        request.body = call.body as Uint8Array<ArrayBuffer>;
      }
      const response = await this.#fetch(this.#base + call.path, request);
      await this.#mustBe(response, kind, call.echo);
      return await read(patience.watched(body(response)));
    });
  }

  /** Run a request under its deadlines. */
  async #patiently<T>(
    deadlineMs: number | undefined,
    work: (patience: Patience, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (this.#isClosed()) throw new Offline("the transport is closed", "closed");
    const patience = new Patience(
      deadlineMs ?? this.#options.deadlineMs ?? REQUEST_DEADLINE_MS,
      this.#options.readTimeoutMs ?? READ_TIMEOUT_MS,
    );
    try {
      return await work(patience, AbortSignal.any([patience.signal, this.#closed.signal]));
    } catch (error) {
      if (this.#isClosed()) throw new Offline("the transport is closed", "closed");
      throw explained(error, patience);
    } finally {
      patience.end();
    }
  }

  /** Throws what it stands for, unless it is a success, of this type, with our echo. */
  async #mustBe(response: Response, kind: string, echo: string): Promise<void> {
    const contentType = response.headers.get("content-type") ?? "";
    const echoed = response.headers.get(ECHO) === echo;
    if (response.status !== 200 || response.type === "opaqueredirect") {
      let text = "";
      try {
        text = await textOf(body(response), SMALL_BODY_BYTES_MAX);
      } catch {
        // What it says does not matter then.
      }
      throw failureOf({
        status: response.type === "opaqueredirect" ? 302 : response.status,
        body: text,
        contentType,
        echoed,
        echo,
        retryAfter: response.headers.get("retry-after") ?? "",
        nowMs: this.#options.host.nowUs() / 1000,
      });
    }
    if (mediaType(contentType) !== kind) throw notOurs(`it is of type ${contentType.slice(0, 60)}`);
    if (!echoed) throw notOurs("it does not repeat the request's echo");
  }

  #isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  #way(): RequestInit {
    // A cookie goes along only where it is what tells who we are.
    const credentials = this.#options.token === null ? "include" : "omit";
    return { credentials, redirect: "manual", cache: "no-store", referrerPolicy: "no-referrer" };
  }

  #sign(): Record<string, string> {
    if (this.#options.token === null) return {};
    const token = this.#options.token();
    if (!/^[\x21-\x7e]+$/.test(token))
      throw new SignInNeeded("there is no valid device token", "sign_in");
    return { authorization: `Bearer ${token}` };
  }
}

/** Two deadlines: for all of a request, and between two pieces of its answer. */
class Patience {
  readonly #abort = new AbortController();
  readonly #readMs: number;
  readonly #whole: ReturnType<typeof setTimeout>;
  #silence: ReturnType<typeof setTimeout>;

  constructor(deadlineMs: number, readMs: number) {
    this.#readMs = readMs;
    this.#whole = setTimeout(() => this.#abort.abort(), deadlineMs);
    this.#silence = setTimeout(() => this.#abort.abort(), readMs);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  async *watched(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const piece of pieces) {
      clearTimeout(this.#silence);
      this.#silence = setTimeout(() => this.#abort.abort(), this.#readMs);
      yield piece;
    }
  }

  end(): void {
    clearTimeout(this.#whole);
    clearTimeout(this.#silence);
  }
}

/** Failures of the way as `Offline`. `fetch` does not tell whether a request has left. */
function explained(error: unknown, patience: Patience | null): Error {
  if (error instanceof HoldfastError) return error;
  if (patience?.signal.aborted) return new Offline("the server did not answer in time", "timeout");
  return new Offline("the server cannot be reached", "unreachable", { cause: messageOf(error) });
}

async function* body(response: Response): AsyncIterable<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  let done = false;
  try {
    for (;;) {
      const piece = await reader.read();
      done = piece.done;
      if (piece.done) return;
      yield piece.value;
    }
  } catch (error) {
    done = true;
    throw error instanceof Error && error.name === "AbortError"
      ? error
      : incomplete("the connection was lost", messageOf(error));
  } finally {
    if (!done) await reader.cancel().catch(() => undefined); // nobody reads the rest
  }
}

async function textOf(pieces: AsyncIterable<Uint8Array>, bytesMax: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const piece of pieces) {
    size += piece.length;
    if (size > bytesMax) throw notOurs("it is too large");
    parts.push(piece);
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(joined(parts));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notOurs("it cannot be decoded");
  }
}

async function gzip(plain: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([plain as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The server's URL without a slash at its end. Throws `ReplicaError` (`bad_url`). */
export function checkedUrl(url: string): string {
  let parsedUrl: URL;
  try {
    parsedUrl = new URL(url);
  } catch {
    throw new ReplicaError(`${url} is not a URL`, "bad_url");
  }
  if (!["http:", "https:"].includes(parsedUrl.protocol) || parsedUrl.hostname === "")
    throw new ReplicaError(`${url} is not the URL of a server`, "bad_url");
  if (parsedUrl.username || parsedUrl.password || parsedUrl.search || parsedUrl.hash)
    throw new ReplicaError("the server's URL has a password, query or fragment", "bad_url");
  return parsedUrl.href.replace(/\/+$/, "");
}
