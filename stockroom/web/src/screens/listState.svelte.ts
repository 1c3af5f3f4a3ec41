/** Where somebody was in the list, and what they searched for: kept while they look at a product. */

import type { GoodsState } from "../data/low.js";

class ListState {
  typed = $state("");
  /** The state of goods that is looked for; "" for all. */
  state = $state<GoodsState | "">("");
  top = 0;
  /** Somebody is typing a search that began on another screen. */
  focused = false;

  choose(state: GoodsState | ""): void {
    this.state = state;
    this.typed = "";
    this.top = 0;
  }
}

export const listState = new ListState();
