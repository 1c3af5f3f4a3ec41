/**
 * Who stands between a browser and the server: passes requests on, or answers in the server's place.
 *
 * Knows: HTTP. Must not know: what is synced. A portal, a proxy whose server is down, and a network
 * that takes a request and loses its answer all look like this from a browser.
 */

import http, {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";

const ECHO = "holdfast-echo";

/** What is told in place of the server's answer. */
export interface Told {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What to tell, or null to pass the request on. */
export type Instead = (path: string, headers: IncomingHttpHeaders) => Told | null;

/** An error as the server itself tells it. */
export function serversOwn(status: number, code: string, headers: IncomingHttpHeaders): Told {
  const echo = String(headers[ECHO]);
  const error = { code, message: "in the server's words", detail: {} };
  return {
    status,
    headers: { "content-type": "application/json", [ECHO]: echo },
    body: JSON.stringify({ error, echo }),
  };
}

/** What happens to an exchange: `lose` its answer, `cut` it in half, or `hold` it back; the server has
 * done its part. */
export type Fate = "pass" | "lose" | "cut" | "hold";

export class Stand {
  readonly #server: http.Server;
  readonly #to: () => number;
  readonly #fates: Fate[] = [];
  readonly #held: (() => void)[] = [];
  readonly #looking: (() => void)[] = [];
  #instead: Instead | null = null;
  #fastMs = 0;
  #slowMs = 0;
  /** Exchanges that have met the fate they were to meet. */
  readonly met: Fate[] = [];
  /** Requests that were answered in the server's place. */
  answered = 0;

  private constructor(to: () => number) {
    this.#to = to;
    this.#server = http.createServer((request, response) => this.#serve(request, response));
  }

  static async put(to: () => number): Promise<Stand> {
    const stand = new Stand(to);
    await new Promise<void>((ready) => stand.#server.listen(0, "127.0.0.1", ready));
    return stand;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Answer what `instead` has words for; null passes everything again. */
  answerFor(instead: Instead | null): void {
    this.#instead = instead;
    this.#server.closeAllConnections(); // a portal comes between what is open, too
  }

  /** What happens to the next exchanges that bring something. */
  next(...fates: Fate[]): void {
    this.#fates.push(...fates);
  }

  /** Scripts that pass set the clock of their page or worker ahead. */
  setClocksAhead(ms: number): void {
    this.#fastMs = ms;
  }

  /** What was to happen does not. */
  forgetFates(): void {
    this.#fates.length = 0;
  }

  /** Each request takes so long on the way. */
  slowBy(ms: number): void {
    this.#slowMs = ms;
  }

  /** Resolves once so many exchanges have met a fate. */
  async metBy(count: number): Promise<void> {
    while (this.met.length < count) await new Promise<void>((look) => this.#looking.push(look));
  }

  /** Let go of the answers that are held back. */
  release(): void {
    for (const go of this.#held.splice(0)) go();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((closed) => this.#server.close(() => closed()));
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "/";
    const told = this.#instead?.(path, request.headers) ?? null;
    if (told !== null) {
      this.answered += 1;
      request.resume();
      response.writeHead(told.status, { "content-type": "text/html", ...told.headers });
      response.end(told.body);
      return;
    }
    void this.#forward(path, request, response).catch(() => response.destroy());
  }

  async #forward(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await whole(request);
    if (this.#slowMs > 0) await new Promise((late) => setTimeout(late, this.#slowMs));
    const bringing = path === "/v1/exchange" && brings(request, body);
    const way = { host: "127.0.0.1", port: this.#to(), path, method: request.method };
    const ahead = http.request({ ...way, headers: request.headers }, (answer) => {
      if (bringing) this.#meet(answer, response);
      else if (this.#fastMs !== 0 && isScript(answer)) void this.#setAhead(answer, response);
      else pass(answer, response);
    });
    ahead.on("error", () => response.destroy());
    response.on("close", () => ahead.destroy());
    ahead.end(body);
  }

  #meet(answer: IncomingMessage, response: ServerResponse): void {
    const fate = this.#fates.shift() ?? "pass";
    if (fate === "pass") return pass(answer, response);
    // The whole answer is here: the server has committed.
    void whole(answer).then((told) => {
      if (fate === "lose") response.destroy();
      else if (fate === "cut") {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.write(told.subarray(0, told.length / 2), () => response.destroy());
      } else this.#held.push(() => response.destroy());
      this.met.push(fate);
      for (const look of this.#looking.splice(0)) look();
    });
  }

  async #setAhead(answer: IncomingMessage, response: ServerResponse): Promise<void> {
    const script = Buffer.concat([Buffer.from(aheadBy(this.#fastMs)), await whole(answer)]);
    response.writeHead(answer.statusCode ?? 502, {
      ...answer.headers,
      "content-length": String(script.length),
    });
    response.end(script);
  }
}

async function whole(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** Whether an exchange brings changes to the server. */
function brings(request: IncomingMessage, body: Buffer): boolean {
  const packed = request.headers["content-encoding"] === "gzip";
  const asked = JSON.parse((packed ? gunzipSync(body) : body).toString()) as {
    readonly transactions?: readonly unknown[];
  };
  return (asked.transactions?.length ?? 0) > 0;
}

function isScript(answer: IncomingMessage): boolean {
  return /javascript/.test(answer.headers["content-type"] ?? "") && answer.statusCode === 200;
}

function pass(answer: IncomingMessage, response: ServerResponse): void {
  response.writeHead(answer.statusCode ?? 502, answer.headers);
  answer.pipe(response);
  answer.on("error", () => response.destroy());
}

function aheadBy(ms: number): string {
  return (
    "if(!globalThis.ahead){const Real=Date;globalThis.ahead=true;globalThis.Date=class extends Real{" +
    `constructor(...given){given.length===0?super(Real.now()+${ms}):super(...given)}` +
    `static now(){return Real.now()+${ms}}}}\n`
  );
}
