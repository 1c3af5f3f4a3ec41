/**
 * A reverse proxy in front of the server, as a shop's own web server is one: below a path, and streaming.
 *
 * Knows: HTTP, and the headers that tell where a request comes from. Must not know: what is asked.
 */

import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export class ReverseProxy {
  readonly #server: http.Server;
  readonly #to: () => number;
  readonly #path: string;
  readonly #strips: boolean;

  private constructor(to: () => number, path: string, strips: boolean) {
    this.#to = to;
    this.#path = path;
    this.#strips = strips;
    this.#server = http.createServer((request, response) => this.#pass(request, response));
  }

  /** `strips`: whether the path is taken off on the way, as with `proxy_pass http://server/;`. */
  static async put(to: () => number, path: string, { strips = false } = {}): Promise<ReverseProxy> {
    const proxy = new ReverseProxy(to, path, strips);
    await new Promise<void>((ready) => proxy.#server.listen(0, "127.0.0.1", ready));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #pass(request: IncomingMessage, response: ServerResponse): void {
    const asked = request.url ?? "/";
    if (asked !== this.#path && !asked.startsWith(`${this.#path}/`)) {
      response.writeHead(404, { "content-type": "text/plain" }).end("another site");
      return;
    }
    const path = this.#strips ? asked.slice(this.#path.length) || "/" : asked;
    const headers = {
      ...request.headers,
      "x-forwarded-for": request.socket.remoteAddress,
      "x-forwarded-proto": "http",
    };
    const way = { host: "127.0.0.1", port: this.#to(), path, method: request.method, headers };
    const ahead = http.request(way, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    ahead.on("error", () => response.destroy());
    response.on("close", () => ahead.destroy());
    request.pipe(ahead);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((closed) => this.#server.close(() => closed()));
  }
}
