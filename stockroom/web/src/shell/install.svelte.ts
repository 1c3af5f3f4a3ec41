/**
 * The browser's offer to install the app, kept until somebody wants it.
 *
 * Knows: what the browser offers. Must not know: where it is shown. Browsers that offer nothing (Firefox,
 * Safari) have an entry in their own menu, if any. An offer is good for one question.
 */

interface Offer extends Event {
  prompt(): Promise<{ readonly outcome: "accepted" | "dismissed" }>;
}

class Install {
  /** True when this page runs as an app of its own. */
  isDone = $state(false);
  isOffered = $state(false);
  #offer: Offer | null = null;

  constructor() {
    const alone = matchMedia("(display-mode: standalone)");
    this.isDone = alone.matches;
    alone.addEventListener("change", () => (this.isDone = alone.matches));
    addEventListener("beforeinstallprompt", (event) => {
      // Asked when somebody has looked for it, and not in the middle of their work.
      event.preventDefault();
      this.#offer = event as Offer;
      this.isOffered = true;
    });
    addEventListener("appinstalled", () => {
      this.#taken();
      this.isDone = true;
    });
  }

  #taken(): void {
    this.#offer = null;
    this.isOffered = false;
  }

  /** Let the browser ask; it offers again if the answer was no. */
  async ask(): Promise<void> {
    const offer = this.#offer;
    this.#taken();
    await offer?.prompt();
  }
}

export const install = new Install();
