/** Where somebody was in the list, and what they searched for: kept while they look at a product. */

class ListState {
  typed = $state("");
  top = 0;
  /** Somebody is typing a search that began on another screen. */
  focused = false;
}

export const listState = new ListState();
