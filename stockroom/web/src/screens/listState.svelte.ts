/** Where somebody was in the list, and what they searched for: kept while they look at a product. */

import type { GoodsState } from "../data/low.js";
import type { Order } from "../data/stockTable.js";

class ListState {
  typed = $state("");
  /** The state of goods that is looked for; "" for all. */
  state = $state<GoodsState | "">("");
  /** The category that is looked at; "" for all. */
  category = $state("");
  order = $state<Order>("name");
  down = $state(false);
  top = 0;
  /** Somebody is typing a search that began on another screen. */
  focused = false;

  choose(state: GoodsState | ""): void {
    this.state = state;
    this.category = "";
    this.typed = "";
    this.top = 0;
  }

  chooseCategory(category: string): void {
    this.choose("");
    this.category = category;
  }

  /** Put in the order of a column; once more, the other way round. */
  sort(order: Order): void {
    this.down = order === this.order ? !this.down : false;
    this.order = order;
    this.top = 0;
  }
}

export const listState = new ListState();
