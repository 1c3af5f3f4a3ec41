/**
 * A cable between browsers and the server that a test can pull: bytes pass, or nothing does.
 *
 * Knows: TCP. Must not know: HTTP. Its port stays the same, so that a page's origin does.
 */

import net, { type AddressInfo } from "node:net";

export class Cable {
  readonly #server: net.Server;
  readonly #open = new Set<net.Socket>();
  #plugged = true;
  port = 0;

  private constructor(to: () => number) {
    this.#server = net.createServer((near) => {
      if (!this.#plugged) {
        near.destroy();
        return;
      }
      const far = net.connect(to(), "127.0.0.1");
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#open.add(one);
        one.pipe(other);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.#open.delete(one);
          other.destroy();
        });
      }
    });
  }

  static async lay(to: () => number): Promise<Cable> {
    const cable = new Cable(to);
    await new Promise<void>((ready) => cable.#server.listen(0, "127.0.0.1", ready));
    cable.port = (cable.#server.address() as AddressInfo).port;
    return cable;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  pull(): void {
    this.#plugged = false;
    for (const socket of this.#open) socket.destroy();
  }

  plug(): void {
    this.#plugged = true;
  }

  async close(): Promise<void> {
    this.pull();
    await new Promise<void>((closed) => this.#server.close(() => closed()));
  }
}
