/**
 * The way to a server which can be cut for the engine's requests alone, while its page still comes.
 *
 * Knows: HTTP. Must not know: what is synced. What is cut here has not arrived: a browser's debugger
 * cannot promise that, for it lets some requests of a worker pass which it has not put down yet.
 */

import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export class Cable {
  readonly #server: Server;
  #isCut = false;

  private constructor(port: number) {
    this.#server = createServer((asked, answer) => {
      if (this.#isCut && asked.url?.startsWith("/v1/")) {
        asked.socket.destroy();
        return;
      }
      const { method, url: path, headers } = asked;
      const up = request({ host: "127.0.0.1", port, method, path, headers, agent: false });
      up.on("error", () => answer.destroy());
      answer.on("close", () => up.destroy());
      up.on("response", (found) => {
        answer.writeHead(found.statusCode ?? 502, found.headers);
        found.pipe(answer);
      });
      asked.pipe(up);
    });
  }

  static async to(server: { readonly port: number }): Promise<Cable> {
    const cable = new Cable(server.port);
    await new Promise<void>((listening) => cable.#server.listen(0, "127.0.0.1", listening));
    return cable;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What is under way ends, and nothing goes through until `mend`. */
  cut(): void {
    this.#isCut = true;
    this.#server.closeAllConnections();
  }

  mend(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }
}
