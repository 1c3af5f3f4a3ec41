/**
 * The newest event of this device that nobody has said to have understood.
 *
 * Knows: which number was seen last, kept outside of the replica: a device that is set back tells anew.
 * Must not know: the words.
 */

import { happened, type Happened } from "../data/happened.js";
import { Live } from "../data/live.svelte.js";
import { keep, recall } from "../data/memory.js";
import { enrolled } from "../data/replica.js";

const SEEN = "stockroom.happened";

interface Seen {
  readonly replica: string;
  readonly at: number;
}

/** Made while a component is set up. */
export class HappenedNote {
  readonly #newest = new Live(
    () => happened(1),
    ([one]) => one ?? null,
  );
  /** Undefined until it is known. */
  #seen = $state.raw<Seen | null | undefined>(undefined);

  constructor() {
    void recall(SEEN).then(
      (seen) => (this.#seen = (seen as Seen | undefined) ?? null),
      (error: unknown) => console.error(error),
    );
  }

  get event(): Happened | null {
    const newest = this.#newest.value ?? null;
    if (newest === null || this.#seen === undefined) return null;
    const isSeen =
      this.#seen?.replica === enrolled()?.replica && newest.at <= (this.#seen?.at ?? 0);
    return isSeen ? null : newest;
  }

  async understood(): Promise<void> {
    const [event, one] = [this.event, enrolled()];
    if (event === null || one === null) return;
    this.#seen = { replica: one.replica, at: event.at };
    await keep(SEEN, this.#seen).catch((error: unknown) => console.error(error));
  }
}
