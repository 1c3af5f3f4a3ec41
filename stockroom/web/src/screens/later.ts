/**
 * Screens that the first one does not need: fetched while the app rests, and at the latest when somebody goes there.
 *
 * Knows: how a part of the app is fetched. Must not know: which screen an address names. Parts are kept on the device
 * with everything else; whoever has just come and loses the connection at once has them, too.
 */

function once<T>(fetched: () => Promise<T>): () => Promise<T> {
  let kept: Promise<T> | null = null;
  return () =>
    (kept ??= fetched().catch((error: unknown) => {
      kept = null;
      throw error;
    }));
}

export const later = {
  adjust: once(() => import("./Adjust.svelte")),
  deliveries: once(() => import("./Deliveries.svelte")),
  firstLoad: once(() => import("./FirstLoad.svelte")),
  form: once(() => import("./ProductForm.svelte")),
  lookUp: once(() => import("../shell/lookUp.js")),
  mine: once(() => import("../shell/MyMenu.svelte")),
  movements: once(() => import("./Movements.svelte")),
  needs: once(() => import("./NeedsYou.svelte")),
  people: once(() => import("./People.svelte")),
  product: once(() => import("./ProductSheet.svelte")),
  receive: once(() => import("./Receive.svelte")),
  saved: once(() => import("./SavedWork.svelte")),
  scan: once(() => import("./Scan.svelte")),
  scanner: once(() => import("./ScannerTest.svelte")),
  start: once(() => import("./Start.svelte")),
  shop: once(() => import("./ShopSettings.svelte")),
  signIn: once(() => import("./SignIn.svelte")),
  settings: once(() => import("./Settings.svelte")),
  todayParts: once(() => import("./todayParts.js")),
  stock: once(() => import("./Stock.svelte")),
  /** No screen; last, as it is large, and few need it. */
  decoder: once(async () => (await import("../shell/camera/reader.js")).keepDecoder()),
} as const;

/** Fetch all of them, one after another; what cannot be had now is asked for again when it is needed. */
export async function fetchAll(): Promise<void> {
  for (const fetched of Object.values(later)) await fetched().catch(() => undefined);
}
