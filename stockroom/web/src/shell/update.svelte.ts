/**
 * A new version of the app: offered, never forced, so that nothing that is being typed is lost.
 *
 * Knows: the service worker. Must not know: what the app does. What is typed is kept as drafts.
 */

import { registerSW } from "virtual:pwa-register";

class Update {
  ready = $state(false);
  install: () => void = () => undefined;
}

export const update = new Update();

export function followUpdates(): void {
  if (!("serviceWorker" in navigator)) return;
  const install = registerSW({ onNeedRefresh: () => (update.ready = true) });
  update.install = () => void install(true);
}
