/**
 * A new version of the app: offered, never forced, so that nothing that is being typed is lost.
 *
 * Knows: the service worker. Must not know: what the app does. What is typed is kept as drafts.
 */

class Update {
  ready = $state(false);
  #waiting: ServiceWorker | null = null;

  offer(worker: ServiceWorker): void {
    this.#waiting = worker;
    this.ready = true;
  }

  /** Let the new version take over; the page is loaded again once it has. */
  install(): void {
    navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), {
      once: true,
    });
    this.#waiting?.postMessage("take over");
  }
}

export const update = new Update();
const LOOK_MS = 60 * 60_000;

export function followUpdates(): void {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  void follow().catch(() => undefined); // without one the app works, but not without a connection
}

async function follow(): Promise<void> {
  const registration = await navigator.serviceWorker.register("/sw.js");
  const looked = (worker: ServiceWorker | null): void => {
    // The first one has nobody to replace.
    if (worker?.state === "installed" && navigator.serviceWorker.controller !== null)
      update.offer(worker);
  };
  looked(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker?.addEventListener("statechange", () => looked(worker));
  });
  setInterval(() => void registration.update().catch(() => undefined), LOOK_MS);
}
