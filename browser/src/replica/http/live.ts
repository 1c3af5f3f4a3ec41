/**
 * The live stream: server-sent events, read until they end or somebody closes them.
 *
 * Knows: the format of events. Must not know: when a stream is wanted (`core/session`).
 * By `fetch` and not `EventSource`, which cannot carry an echo or a token.
 */

import { EVENT_LENGTH_MAX } from "../../core/limits.js";
import { notOurs } from "../failures.js";

/** `hello` comes first; `moved` says that scopes have news; `heartbeat` that the stream lives. */
export interface LiveEvent {
  readonly kind: "hello" | "moved" | "heartbeat";
}

/** The events in a stream of bytes. Names nobody knows are left out. */
export async function* parseEvents(pieces: AsyncIterable<Uint8Array>): AsyncIterable<LiveEvent> {
  const decoder = new TextDecoder();
  let [rest, name] = ["", ""];
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > EVENT_LENGTH_MAX) throw notOurs("an event is too long");
    for (const line of lines) {
      if (line === "") {
        if (name === "hello" || name === "moved") yield { kind: name };
        name = "";
      } else if (line.startsWith(":")) yield { kind: "heartbeat" };
      else if (line.startsWith("event: ")) name = line.slice("event: ".length);
    }
  }
}
