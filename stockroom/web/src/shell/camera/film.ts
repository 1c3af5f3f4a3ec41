/**
 * Codes seen by the camera, for as long as somebody films.
 *
 * Knows: the camera and its light. Must not know: what a code means, or how it is read. Upholds: a camera
 * that is not looked through is off: it ends with whoever asked, and rests while the page is hidden.
 */

import { NoReader, openReader, type Reader } from "./reader.js";
import { Sight } from "./sight.js";

/** Reasons that there is no picture, as whoever holds the device can mend them. */
export type CameraLack = "refused" | "missing" | "busy" | "reader" | "address";

export interface Told {
  readonly code: (code: string) => void;
  readonly lacking: (lack: CameraLack) => void;
  /** The picture runs; whether there is a light that can be switched. */
  readonly running: (hasTorch: boolean) => void;
}

const LOOK_MS = 120;
const WANTED: MediaStreamConstraints = {
  audio: false,
  video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } },
};

/** Lights are not in the types of the DOM yet. */
interface Lit {
  readonly torch?: boolean;
}

export class Film {
  readonly #video: HTMLVideoElement;
  readonly #told: Told;
  readonly #sight = new Sight();
  #reader: Reader | null = null;
  #stream: MediaStream | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(video: HTMLVideoElement, told: Told) {
    this.#video = video;
    this.#told = told;
    document.addEventListener("visibilitychange", this.#turn);
    this.#start();
  }

  async light(on: boolean): Promise<boolean> {
    const [track] = this.#stream?.getVideoTracks() ?? [];
    try {
      await track?.applyConstraints({ advanced: [{ torch: on } as MediaTrackConstraintSet] });
      return on;
    } catch {
      return !on; // taken by another app
    }
  }

  stop(): void {
    this.#isOver = true;
    document.removeEventListener("visibilitychange", this.#turn);
    this.#rest();
    this.#reader?.close();
  }

  readonly #turn = (): void => {
    if (document.visibilityState === "hidden") this.#rest();
    else if (this.#stream === null) this.#start();
  };

  #start(): void {
    this.#open().catch((error: unknown) => {
      if (this.#isOver) return;
      this.stop();
      this.#told.lacking(lackOf(error));
    });
  }

  #rest(): void {
    clearTimeout(this.#timer);
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
  }

  async #open(): Promise<void> {
    if (navigator.mediaDevices === undefined) throw new DOMException("", "SecurityError");
    const stream = await navigator.mediaDevices.getUserMedia(WANTED);
    const isStale = this.#isOver || this.#stream !== null || document.visibilityState === "hidden";
    if (isStale) return stream.getTracks().forEach((track) => track.stop());
    this.#stream = stream;
    const [track] = stream.getVideoTracks();
    // Unplugged, or taken away in the system's settings.
    track?.addEventListener("ended", () => {
      if (this.#isOver || this.#stream !== stream) return;
      this.stop();
      this.#told.lacking("busy");
    });
    this.#video.srcObject = stream;
    await this.#video.play();
    this.#reader ??= await openReader();
    if (this.#isOver) return this.#reader.close();
    this.#told.running((track?.getCapabilities?.() as Lit | undefined)?.torch === true);
    await this.#look(stream);
  }

  async #look(stream: MediaStream): Promise<void> {
    const read = (await this.#reader?.read(this.#video).catch(() => [])) ?? [];
    if (this.#isOver || this.#stream !== stream) return;
    for (const code of this.#sight.see(read, performance.now())) this.#told.code(code);
    this.#timer = setTimeout(() => void this.#look(stream), LOOK_MS);
  }
}

function lackOf(error: unknown): CameraLack {
  if (error instanceof NoReader) return "reader";
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return "refused";
  if (name === "SecurityError") return "address";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "missing";
  return "busy";
}
