/**
 * One short word after something was done, with a way to take it back.
 *
 * Knows: what was said last. Must not know: who says it. "Saved" is said after the commit, never before.
 */

export interface Toast {
  readonly text: string;
  readonly bad: boolean;
  readonly action: { readonly label: string; readonly run: () => void | Promise<void> } | null;
}

const SHOWN_MS = 10_000;
/** What is said while a screen is left belongs to the next one; later moves take it away. */
const SETTLED_MS = 400;

class Toasts {
  current = $state.raw<Toast | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #since = 0;

  constructor() {
    addEventListener("hashchange", () => {
      if (performance.now() - this.#since > SETTLED_MS) this.hide();
    });
  }

  show(one: Toast): void {
    clearTimeout(this.#timer);
    this.current = one;
    this.#since = performance.now();
    this.#endLater();
  }

  /** While it has the pointer or the focus, it stays. */
  hold(): void {
    clearTimeout(this.#timer);
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#endLater();
  }

  #endLater(): void {
    // What failed stays until somebody has seen it.
    if (this.current?.bad === false) this.#timer = setTimeout(() => this.hide(), SHOWN_MS);
  }

  hide(): void {
    clearTimeout(this.#timer);
    this.current = null;
  }

  /** Do what is offered. What it says in turn comes after this one has gone. */
  act(): void {
    const action = this.current?.action;
    this.hide();
    void action?.run();
  }
}

export const toasts = new Toasts();

export function say(text: string, action: Toast["action"] = null): void {
  toasts.show({ text, bad: false, action });
}

export function sayBad(text: string): void {
  toasts.show({ text, bad: true, action: null });
}

/** Put to what shows it: whoever reads or reaches for it has all the time they need. */
export function held(node: HTMLElement): () => void {
  const ending = new AbortController();
  const { signal } = ending;
  for (const event of ["pointerenter", "focusin"])
    node.addEventListener(event, () => toasts.hold(), { signal });
  const letGo = (): void => {
    if (!node.matches(":hover, :focus-within")) toasts.release();
  };
  for (const event of ["pointerleave", "focusout"]) node.addEventListener(event, letGo, { signal });
  return () => ending.abort();
}
