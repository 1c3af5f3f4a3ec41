/**
 * Where in the app one is: the hash of the page's address, so that back and links work.
 *
 * Knows: addresses. Must not know: screens.
 */

class Router {
  path = $state<readonly string[]>([]);
  params = $state.raw(new URLSearchParams());

  constructor() {
    this.#read();
    addEventListener("hashchange", () => this.#read());
  }

  #read(): void {
    const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
    this.path = path
      .split("/")
      .filter((part) => part !== "")
      .map(decoded);
    this.params = new URLSearchParams(query);
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const router = new Router();

export function go(path: string): void {
  location.hash = path;
}

/** Go there without leaving a step behind in the history. */
export function goInstead(path: string): void {
  location.replace(`#${path}`);
}

/** Load the app again, at its beginning; no screen that is open now sees the new address. */
export function beginAnew(): void {
  history.replaceState(null, "", "#/today");
  location.reload();
}
