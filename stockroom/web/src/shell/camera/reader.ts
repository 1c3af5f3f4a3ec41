/**
 * Who reads the codes in a picture: the browser itself where it can, else a decoder of ours, in a worker.
 *
 * Knows: BarcodeDetector and the worker. Must not know: cameras. A browser may have the detector and nothing
 * behind it (it then knows no kinds of codes): that is as if it had none.
 */

import type { Answered, Asked, Ready } from "./decoder.js";

/** Reads a picture of a running video, again and again, until it is closed. */
export interface Reader {
  readonly kind: "browser" | "library";
  read(video: HTMLVideoElement): Promise<readonly string[]>;
  close(): void;
}

/** There is no decoder on this device, and it cannot be fetched now. */
export class NoReader extends Error {}

interface Detector {
  detect(source: HTMLVideoElement): Promise<readonly { readonly rawValue: string }[]>;
}
interface DetectorClass {
  new (options: { readonly formats: readonly string[] }): Detector;
  getSupportedFormats(): Promise<readonly string[]>;
}
declare global {
  var BarcodeDetector: DetectorClass | undefined;
}

/** Without these a shop's goods cannot be read. */
const NEEDED = ["ean_13", "ean_8", "upc_a", "code_128"];
const WISHED = [...NEEDED, "upc_e", "code_39", "code_93", "itf", "qr_code", "data_matrix"];
/** Wider pictures take longer and tell no more. */
const WIDTH_MAX = 1280;

/** The kinds of codes that the browser itself reads; none where it does not read a shop's. */
export async function browserFormats(
  detector: Pick<DetectorClass, "getSupportedFormats"> | undefined = globalThis.BarcodeDetector,
): Promise<readonly string[]> {
  const known = (await detector?.getSupportedFormats().catch(() => [])) ?? [];
  return NEEDED.every((kind) => known.includes(kind))
    ? WISHED.filter((k) => known.includes(k))
    : [];
}

/** A reader for this browser. Raises `NoReader` where the library cannot be had. */
export async function openReader(): Promise<Reader> {
  const formats = await browserFormats();
  const Own = globalThis.BarcodeDetector;
  return Own === undefined || formats.length === 0
    ? await library()
    : browsers(new Own({ formats }));
}

function browsers(detector: Detector): Reader {
  return {
    kind: "browser",
    read: async (video) => (await detector.detect(video)).map(({ rawValue }) => rawValue),
    close: () => undefined,
  };
}

const decoder = (): Worker =>
  new Worker(new URL("./decoder.ts", import.meta.url), { type: "module", name: "codes" });

async function library(): Promise<Reader> {
  const worker = decoder();
  const answers = new Map<number, (texts: readonly string[]) => void>();
  await new Promise<void>((ready, failed) => {
    const fail = (): void => {
      worker.terminate();
      failed(new NoReader("the decoder could not be loaded"));
    };
    worker.onerror = fail;
    worker.onmessage = ({ data }: MessageEvent<Ready>) => (data.ready ? ready() : fail());
  });
  worker.onmessage = ({ data: { at, texts } }: MessageEvent<Answered>) => {
    answers.get(at)?.(texts);
    answers.delete(at);
  };
  const canvas = document.createElement("canvas");
  const drawn = canvas.getContext("2d", { willReadFrequently: true });
  let last = 0;
  return {
    kind: "library",
    read: (video) => {
      const share = Math.min(1, WIDTH_MAX / video.videoWidth);
      const [width, height] = [video.videoWidth * share, video.videoHeight * share].map(Math.round);
      if (drawn === null || !width || !height) return Promise.resolve([]);
      if (canvas.width !== width || canvas.height !== height)
        [canvas.width, canvas.height] = [width, height];
      drawn.drawImage(video, 0, 0, width, height);
      const picture = drawn.getImageData(0, 0, width, height);
      const at = (last += 1);
      return new Promise((answer) => {
        answers.set(at, answer);
        worker.postMessage({ at, picture } satisfies Asked, [picture.data.buffer]);
      });
    },
    close: () => {
      worker.terminate();
      for (const answer of answers.values()) answer([]);
    },
  };
}

/**
 * Have the decoder kept on the device with the rest of the app, while there is a connection; not where the
 * browser reads codes itself, or has no camera to read them with.
 */
export async function keepDecoder(): Promise<void> {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  if (!devices.some(({ kind }) => kind === "videoinput")) return;
  if ((await browserFormats()).length > 0) return;
  (await navigator.serviceWorker.ready).active?.postMessage("keep decoder");
}
