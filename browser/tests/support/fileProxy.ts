/** A proxy before a server that cuts, damages, holds or loses files on their way, at the byte. */

import { createHash } from "node:crypto";
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync, gzipSync } from "node:zlib";

/** What happens to one answer with a file. */
export type Fate =
  /** Its connection ends after so many bytes of the file. */
  | { readonly cutAfter: number }
  /** One byte of it is another one. */
  | { readonly damagedAt: number }
  /** It is not there any more. */
  | { readonly gone: true };

type Offers = readonly object[];

/** Answer with another body. */
function replace(found: IncomingMessage, answer: ServerResponse, body: Buffer | string): void {
  const headers = { ...found.headers };
  for (const name of ["content-length", "content-encoding"]) Reflect.deleteProperty(headers, name);
  answer.writeHead(found.statusCode ?? 502, headers).end(body);
}

/** Answer with other offers of files. */
async function forge(
  found: IncomingMessage,
  answer: ServerResponse,
  others: (offers: Offers) => Offers,
): Promise<void> {
  const pieces: Buffer[] = [];
  for await (const piece of found) pieces.push(piece as Buffer);
  const body = Buffer.concat(pieces);
  const encoding = found.headers["content-encoding"];
  const lines = (encoding === "gzip" ? gunzipSync(body) : body).toString().split("\n");
  const forgedLines = lines.map((line) => {
    const read = JSON.parse(line || "null") as { type: string; offers?: Offers } | null;
    if (read?.type !== "files") return line;
    return JSON.stringify({ ...read, offers: others(read.offers ?? []) });
  });
  replace(found, answer, forgedLines.join("\n"));
}

/** Offers of another file than the server's. */
function offersOf(file: Buffer): (offers: Offers) => Offers {
  const packed = gzipSync(file);
  const offered = {
    sha256: createHash("sha256").update(packed).digest("hex"),
    bytes: packed.length,
    unpacked_bytes: file.length,
  };
  return (offers) => offers.map((offer) => ({ ...offer, ...offered }));
}

export class FileProxy {
  readonly #server: Server;
  readonly #port: number;
  /** Of the next answers with a file, in order; the ones behind it pass. */
  fates: Fate[] = [];
  /** What files are instead, before they are packed; their offers are of it, too. */
  forged: Buffer | null = null;
  /** Whether each file is offered twice. */
  twice = false;
  /** How many exchanges have begun. */
  exchanges = 0;
  /** `range` of each request for a file; empty for all of it. */
  ranges: string[] = [];
  /** Bytes of files that were let through. */
  bytes = 0;
  /** Files wait after so many bytes, until this is null again. */
  holdAfter: number | null = null;
  /** While this is true, the connection of an exchange ends before the server has heard of it. */
  cutExchanges = false;
  /** Exchanges wait while this is true. */
  holdExchanges = false;
  /** How many of them have waited. */
  held = { files: 0, exchanges: 0 };
  #released: (() => void)[] = [];

  private constructor(port: number) {
    this.#port = port;
    this.#server = createServer((asked, answer) => void this.#pass(asked, answer));
    this.#server.keepAliveTimeout = 120_000; // longer than any client keeps an idle connection
  }

  static async before(server: { readonly port: number }): Promise<FileProxy> {
    const proxy = new FileProxy(server.port);
    await new Promise<void>((listening) => proxy.#server.listen(0, "127.0.0.1", listening));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Whatever waits goes on. */
  release(): void {
    this.holdAfter = null;
    this.holdExchanges = false;
    for (const go of this.#released.splice(0)) go();
  }

  async close(): Promise<void> {
    this.release();
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  async #wait(what: "files" | "exchanges"): Promise<void> {
    this.held[what] += 1;
    await new Promise<void>((go) => this.#released.push(go));
  }

  async #pass(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const isFile = asked.url?.startsWith("/v1/files/") === true;
    if (isFile) this.ranges.push(asked.headers.range ?? "");
    if (this.cutExchanges && asked.url === "/v1/exchange") {
      asked.socket.destroy();
      return;
    }
    if (asked.url === "/v1/exchange") this.exchanges += 1;
    const body: Buffer[] = [];
    for await (const piece of asked) body.push(piece as Buffer);
    if (this.holdExchanges && asked.url === "/v1/exchange") await this.#wait("exchanges");
    const fate = isFile ? this.fates.shift() : undefined;
    if (fate !== undefined && "gone" in fate) {
      answer.writeHead(404).end();
      return;
    }
    const { method, url: path } = asked;
    const headers = { ...asked.headers };
    const { forged, twice } = this;
    if (forged !== null || twice) headers["accept-encoding"] = "gzip";
    const up = request({
      port: this.#port,
      host: "127.0.0.1",
      method,
      headers,
      path,
      agent: false,
    });
    up.on("error", () => answer.destroy());
    answer.on("close", () => up.destroy());
    up.on("response", (found) => {
      if (path === "/v1/exchange" && forged !== null) {
        void forge(found, answer, offersOf(forged));
      } else if (path === "/v1/exchange" && twice) {
        void forge(found, answer, (offers) => [...offers, ...offers]);
      } else if (isFile && forged !== null) {
        found.resume();
        replace(found, answer, gzipSync(forged));
      } else {
        answer.writeHead(found.statusCode ?? 502, found.headers);
        if (isFile) void this.#file(found, answer, fate);
        else found.pipe(answer);
      }
    });
    up.end(Buffer.concat(body));
  }

  async #file(found: IncomingMessage, answer: ServerResponse, fate?: Fate): Promise<void> {
    let sent = 0;
    try {
      for await (const given of found) {
        let piece = given as Buffer;
        if (this.holdAfter !== null && sent + piece.length > this.holdAfter) {
          const before = Math.max(0, this.holdAfter - sent);
          answer.write(piece.subarray(0, before));
          this.bytes += before;
          sent += before;
          piece = piece.subarray(before);
          await this.#wait("files");
        }
        if (fate !== undefined && "cutAfter" in fate && sent + piece.length > fate.cutAfter) {
          const rest = piece.subarray(0, fate.cutAfter - sent);
          this.bytes += rest.length;
          answer.write(rest, () => answer.destroy());
          found.destroy();
          return;
        }
        if (fate !== undefined && "damagedAt" in fate) {
          const at = fate.damagedAt - sent;
          if (at >= 0 && at < piece.length) piece.writeUInt8(piece.readUInt8(at) ^ 1, at);
        }
        sent += piece.length;
        this.bytes += piece.length;
        answer.write(piece);
      }
      answer.end();
    } catch {
      answer.destroy();
    }
  }
}
