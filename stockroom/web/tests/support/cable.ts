/**
 * A cable between browsers and the server that a test can pull: bytes pass, or nothing does.
 *
 * Knows: TCP. Must not know: HTTP. Its port stays the same, so that a page's origin does.
 */

import net, { type AddressInfo } from "node:net";

/** How a record of TLS begins that is no request yet; and the size that only a request has. */
const HANDSHAKE = 22;
const REQUEST_BYTES_MIN = 300;

export class Cable {
  readonly #server: net.Server;
  readonly #open = new Set<net.Socket>();
  /** Connections of which an answer is not to pass. */
  readonly #asking = new Set<net.Socket>();
  #plugged = true;
  /** Bytes that may still pass before it pulls itself. */
  #left = Infinity;
  #pulled: () => void = () => undefined;
  /** Whether it pulls itself when something that is sent is answered. */
  #untilAnswered = false;
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
        one.on("data", (piece: Buffer) => {
          if (one === near) this.#sent(near, piece);
          else if (this.#asking.has(near)) return this.pull();
          this.#count(piece.length);
        });
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
    this.#untilAnswered = false;
    this.#asking.clear();
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

  /** Plugged in until a request has been answered, of which nothing passes: the server has done its part. */
  async plugUntilAnswered(): Promise<void> {
    const over = new Promise<void>((pulled) => (this.#pulled = pulled));
    this.#untilAnswered = true;
    this.plug();
    await over;
  }

  #sent(near: net.Socket, piece: Buffer): void {
    const isHandshake = piece[0] === HANDSHAKE;
    if (this.#untilAnswered && !isHandshake && piece.length > REQUEST_BYTES_MIN)
      this.#asking.add(near);
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
