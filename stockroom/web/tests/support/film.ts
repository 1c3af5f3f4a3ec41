/**
 * A film for Chromium's camera: barcodes held before it, one after another, and nothing between them.
 *
 * Knows: how an EAN-13 is drawn (ISO/IEC 15420), and the file of bare pictures that Chromium plays in place of a
 * camera. Must not know: who reads it.
 */

import { writeFile } from "node:fs/promises";

const [WIDTH, HEIGHT, PER_SECOND] = [640, 360, 5];
const [PAPER, INK, TABLE] = [235, 16, 120];
/** Pixels of the thinnest bar, and of the white around all of them. */
const MODULE = 4;
const QUIET = 11 * MODULE;
const LEFT = ["0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011"]; // prettier-ignore
/** Which digits of the left half are written the other way round tells the first digit. */
const TURNED = ["000000", "001011", "001101", "001110", "010011", "011001", "011100", "010101", "010110", "011010"]; // prettier-ignore

const inverse = (bars: string): string =>
  [...bars].map((bar) => (bar === "1" ? "0" : "1")).join("");
const reverse = (bars: string): string => [...bars].reverse().join("");

/** The bars of an EAN-13, 1 for ink. */
function bars(code: string): string {
  const [first = 0, ...digits] = [...code].map(Number);
  const turned = TURNED[first] ?? "";
  const halves = digits.map((digit, at) => {
    const left = LEFT[digit] ?? "";
    const right = inverse(left);
    return at >= 6 ? right : turned[at] === "1" ? reverse(right) : left;
  });
  return `101${halves.slice(0, 6).join("")}01010${halves.slice(6).join("")}101`;
}

function picture(code: string | null): Buffer {
  const luma = Buffer.alloc(WIDTH * HEIGHT, TABLE);
  const drawn = code === null ? "" : bars(code);
  const from = (WIDTH - drawn.length * MODULE) / 2;
  for (let y = 80; code !== null && y < 280; y += 1)
    for (let x = from - QUIET; x < from + drawn.length * MODULE + QUIET; x += 1) {
      const isInk = y > 100 && y < 260 && drawn[Math.floor((x - from) / MODULE)] === "1";
      luma[y * WIDTH + x] = isInk ? INK : PAPER;
    }
  const noColour = Buffer.alloc((WIDTH * HEIGHT) / 2, 128);
  return Buffer.concat([Buffer.from("FRAME\n"), luma, noColour]);
}

/** Write the film: each of these for so many seconds, then from the beginning again; null is an empty table. */
export async function writeFilm(
  file: string,
  shown: readonly (readonly [code: string | null, seconds: number])[],
): Promise<void> {
  const head = Buffer.from(`YUV4MPEG2 W${WIDTH} H${HEIGHT} F${PER_SECOND}:1 Ip A1:1 C420\n`);
  const frames = shown.flatMap(([code, seconds]) =>
    Array<Buffer>(seconds * PER_SECOND).fill(picture(code)),
  );
  await writeFile(file, Buffer.concat([head, ...frames]));
}
