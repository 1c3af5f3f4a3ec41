/**
 * What the bar above a screen says: the screen's title, the way back, what can be done.
 *
 * Knows: what a screen has told of itself last. Must not know: screens. A screen tells it by `PageHead`.
 */

import type { Snippet } from "svelte";

export interface Head {
  readonly title: string;
  /** Shorter, for where there is little room; the screen then shows the title itself. */
  readonly short: string;
  /** The address the way back leads to; "" on a main screen. */
  readonly back: string;
  readonly actions: Snippet | undefined;
  /** Whether it is work that wants the whole of a phone: the tabs are hidden. */
  readonly full: boolean;
}

class Heads {
  current = $state.raw<Head | null>(null);

  /** Say it until the function that is returned is called. */
  show(one: Head): () => void {
    this.current = one;
    return () => {
      if (this.current === one) this.current = null;
    };
  }
}

export const heads = new Heads();
