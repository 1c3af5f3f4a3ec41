/**
 * The answer to a request for a file: from which byte it starts, and its pieces.
 *
 * Knows: HTTP's ranges. Must not know: what is in a file, or where it is kept.
 * Any proxy or cache may have answered; so nothing here is a proof. The bytes are judged by their
 * SHA-256 when all of them are there.
 */

import { FileGone } from "../../core/errors.js";
import { failureOf, notOurs } from "../failures.js";

const PATH = /^\/v1\/files\/[A-Za-z0-9_.-]{1,200}(\?[A-Za-z0-9_.=&%-]{0,1000})?$/;
const RANGE = /^bytes ([0-9]{1,15})-[0-9]{1,15}\/[0-9*]{1,15}$/;
/** What a server or a cache says of a path that is good no more. */
const GONE: ReadonlySet<number> = new Set([403, 404, 410, 412, 416]);

/** `start`: the byte that `pieces` begin with; 0 when the range was not honoured. */
export interface FileAnswer {
  readonly start: number;
  readonly pieces: AsyncIterable<Uint8Array>;
}

/** A path that a server may offer: below `/v1/files/`, and nowhere else. Throws `FileGone`. */
export function checkedPath(path: string): string {
  if (!PATH.test(path)) throw new FileGone("the offered file is not below /v1/files/");
  return path;
}

/** Ask for what is missing, and for all of it when it is another file by now. */
export function rangeHeaders(start: number, sha256: string): Record<string, string> {
  return start === 0 ? {} : { range: `bytes=${start}-`, "if-range": `"${sha256}"` };
}

/** The byte that an answer starts with. Throws `FileGone`, `ServerTrouble` or `Offline`. */
export function openedFile(response: Response, start: number, nowMs: number): number {
  const { status, headers } = response;
  if (GONE.has(status)) throw new FileGone(`the file is no longer available (status ${status})`);
  if (status !== 200 && status !== 206)
    throw failureOf({
      status: response.type === "opaqueredirect" ? 302 : status,
      body: "",
      contentType: "",
      echoed: false,
      echo: "",
      retryAfter: headers.get("retry-after") ?? "",
      nowMs,
    });
  const encoding = headers.get("content-encoding")?.trim().toLowerCase() ?? "";
  if (encoding !== "" && encoding !== "identity")
    throw notOurs("a file came in another encoding than was offered");
  if (status === 200) return 0;
  const range = headers.get("content-range");
  // Another origin may keep its headers from us; then it is as it was asked for, or the SHA-256 tells.
  if (range === null && response.type === "cors") return start;
  const found = RANGE.exec(range?.trim() ?? "");
  if (found === null || Number(found[1]) !== start)
    throw notOurs("it is not the requested range of the file");
  return start;
}
