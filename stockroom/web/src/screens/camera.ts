/**
 * Codes seen by the camera, where the browser can read them.
 *
 * Knows: BarcodeDetector. Must not know: what a code means. The same code counts again only after it
 * has been out of sight.
 */

interface Detector {
  detect(source: HTMLVideoElement): Promise<readonly { readonly rawValue: string }[]>;
}
declare global {
  var BarcodeDetector: (new () => Detector) | undefined;
}

const LOOK_MS = 150;
const GONE_MS = 1200;

export const hasCamera = (): boolean =>
  globalThis.BarcodeDetector !== undefined && navigator.mediaDevices !== undefined;

/** Film until the answer is called. */
export function cameraCodes(
  video: HTMLVideoElement,
  told: (code: string) => void,
  failed: () => void,
): () => void {
  let stream: MediaStream | null = null;
  let ended = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const seen = new Map<string, number>();
  const stop = (): void => {
    ended = true;
    clearTimeout(timer);
    for (const track of stream?.getTracks() ?? []) track.stop();
  };
  const begin = async (): Promise<void> => {
    const Detector = globalThis.BarcodeDetector;
    if (Detector === undefined) return failed();
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    if (ended) return stop();
    video.srcObject = stream;
    await video.play();
    const detector = new Detector();
    const look = async (): Promise<void> => {
      for (const { rawValue } of await detector.detect(video).catch(() => [])) {
        const now = performance.now();
        if (now - (seen.get(rawValue) ?? -GONE_MS) >= GONE_MS) told(rawValue);
        seen.set(rawValue, now);
      }
      if (!ended) timer = setTimeout(() => void look(), LOOK_MS);
    };
    await look();
  };
  begin().catch(() => {
    stop();
    failed();
  });
  return stop;
}
