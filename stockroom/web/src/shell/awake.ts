/** A screen that stays on while somebody works with both hands; knows nothing of what they do. */

/** Keep the screen on until the answer is called, wherever the browser can. */
export function stayAwake(): () => void {
  let lock: WakeLockSentinel | null = null;
  let isOver = false;
  const take = (): void => {
    if (isOver || document.visibilityState !== "visible" || !("wakeLock" in navigator)) return;
    navigator.wakeLock
      .request("screen")
      .then((taken) => {
        lock = taken;
        if (isOver) void taken.release();
      })
      .catch(() => undefined); // a flat battery says no
  };
  take();
  // The browser lets go of it whenever the page is hidden.
  document.addEventListener("visibilitychange", take);
  return () => {
    isOver = true;
    document.removeEventListener("visibilitychange", take);
    void lock?.release();
  };
}
