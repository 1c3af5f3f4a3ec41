/**
 * The worker that reads codes in pictures, where the browser itself cannot.
 *
 * Knows: the decoder library. Must not know: cameras, or what a code means. Its WASM lies beside it, and is
 * of this server.
 */

import { prepareZXingModule, type ReaderOptions, readBarcodes } from "zxing-wasm/reader";
import wasm from "zxing-wasm/reader/zxing_reader.wasm?url";

/** Question and answer carry the same number. */
export interface Asked {
  readonly at: number;
  readonly picture: ImageData;
}
export interface Answered {
  readonly at: number;
  readonly texts: readonly string[];
}
/** The first word of the worker: whether it can read at all. */
export interface Ready {
  readonly ready: boolean;
}

const OPTIONS: ReaderOptions = {
  formats: [
    ...(["EAN13", "EAN8", "UPCA", "UPCE", "DataBar", "DataBarExp", "DataBarLtd"] as const),
    ...(["Code128", "Code39", "Code93", "ITF14", "QRCode", "DataMatrix"] as const),
  ],
  // As a hand scanner sends it: signs between elements stay, and nothing is put in brackets.
  textMode: "Plain",
  eanAddOnSymbol: "Ignore",
  maxNumberOfSymbols: 4,
};

const say = (words: Answered | Ready): void => postMessage(words);

prepareZXingModule({ overrides: { locateFile: () => wasm }, fireImmediately: true }).then(
  () => say({ ready: true }),
  () => say({ ready: false }),
);

addEventListener("message", ({ data: { at, picture } }: MessageEvent<Asked>) => {
  readBarcodes(picture, OPTIONS)
    .then((found) => found.map(({ symbologyIdentifier, text }) => symbologyIdentifier + text))
    .catch(() => [])
    .then((texts) => say({ at, texts }));
});
