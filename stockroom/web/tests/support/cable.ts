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
  /** Bytes that may still pass before it pulls itself. */
  #left = Infinity;
  #pulled: () => void = () => undefined;
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
        one.on("data", (piece) => this.#count(piece.length));
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
    this.#left = Infinity;
    for (const socket of this.#open) socket.destroy();
    this.#pulled();
  }

  plug(): void {
    this.#plugged = true;
  }

  /** Plugged in until so many bytes have passed, whichever way; resolves when it is pulled again. */
  async plugFor(bytes: number): Promise<void> {
    const over = new Promise<void>((pulled) => (this.#pulled = pulled));
    this.#left = bytes;
    this.plug();
    await over;
  }

  #count(bytes: number): void {
    this.#left -= bytes;
    if (this.#left <= 0) this.pull();
  }

  async close(): Promise<void> {
    this.pull();
    await new Promise<void>((closed) => this.#server.close(() => closed()));
  }
}
