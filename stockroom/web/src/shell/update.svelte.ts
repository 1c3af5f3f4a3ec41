/**
 * A new version of the app: offered, never forced, so that nothing that is being typed is lost.
 *
 * Knows: the service worker. Must not know: what the app does. What is typed is kept as drafts.
 */

import { at } from "../data/base.js";

class Update {
  /** `offered`: this tab may take it; `taken`: another tab has, and this one is still the old one. */
  state = $state<"none" | "offered" | "taken">("none");
  #waiting: ServiceWorker | null = null;
  #registration: ServiceWorkerRegistration | null = null;
  #mine = false;

  follow(registration: ServiceWorkerRegistration): void {
    this.#registration = registration;
    const looked = (worker: ServiceWorker | null): void => {
      // The first one has nobody to replace.
      if (worker?.state !== "installed" || navigator.serviceWorker.controller === null) return;
      this.#waiting = worker;
      this.state = "offered";
    };
    looked(registration.waiting);
    registration.addEventListener("updatefound", () => {
      const worker = registration.installing;
      worker?.addEventListener("statechange", () => looked(worker));
    });
    // The first one takes the page over as well, and is of its own version.
    let controlled = navigator.serviceWorker.controller !== null;
    navigator.serviceWorker.addEventListener("controllerchange", () => {
      if (this.#mine) location.reload();
      else if (controlled) this.isTaken();
      controlled = true;
    });
  }

  /** Ask the server whether there is a new version. */
  look(): void {
    void this.#registration?.update().catch(() => undefined);
  }

  /** Let the new version take over; the page is loaded again once it has. */
  install(): void {
    if (this.state === "offered") {
      this.#mine = true;
      this.#waiting?.postMessage("take over");
    } else location.reload();
  }

  /** Another tab has: this one is still the old one. */
  isTaken(): void {
    this.state = "taken";
  }

  later(): void {
    this.state = "none";
  }
}

export const update = new Update();
const LOOK_MS = 60 * 60_000;

export function followUpdates(): void {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  void follow().catch(() => undefined); // without one the app works, but not without a connection
}

async function follow(): Promise<void> {
  update.follow(await navigator.serviceWorker.register(at("sw.js")));
  setInterval(() => update.look(), LOOK_MS);
  // An app that stays open for weeks is looked at after each pause, and when there is a network again.
  addEventListener("online", () => update.look());
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") update.look();
  });
}
