/**
 * Hand scanners that type: a burst of keys, faster than fingers, ended by Enter or Tab.
 *
 * Knows: how a burst looks. Must not know: what a code means; whoever listened last gets it. A burst
 * that went into a field is taken out of it again.
 */

/** Between two keys of a scanner; people take longer. */
const GAP_MS_MAX = 45;
const LENGTH_MIN = 4;

type Listener = (code: string) => void;
const listeners: Listener[] = [];
let burst = "";
let lastMs = 0;
let field: {
  readonly element: HTMLInputElement | HTMLTextAreaElement;
  readonly before: string;
} | null = null;

/** The newest listener gets the codes; the answer ends it. */
export function onScan(listener: Listener): () => void {
  listeners.push(listener);
  return () => {
    const at = listeners.indexOf(listener);
    if (at >= 0) listeners.splice(at, 1);
  };
}

export function scanned(code: string): void {
  listeners.at(-1)?.(code);
}

/** Listen to the keyboard of the page; the answer ends it. */
export function listenToKeys(): () => void {
  const heard = (event: KeyboardEvent): void => {
    const { key, timeStamp } = event;
    const late = timeStamp - lastMs > GAP_MS_MAX;
    lastMs = timeStamp;
    if ((key === "Enter" || key === "Tab") && !late && burst.length >= LENGTH_MIN) {
      event.preventDefault();
      event.stopImmediatePropagation();
      const code = burst;
      burst = "";
      if (field !== null) {
        field.element.value = field.before;
        field.element.dispatchEvent(new Event("input", { bubbles: true }));
      }
      scanned(code);
      return;
    }
    if (key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey) {
      if (key !== "Shift") burst = "";
      return;
    }
    if (late) {
      burst = "";
      const target = event.target;
      const typed = target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement;
      field = typed ? { element: target, before: target.value } : null;
    }
    burst += key;
  };
  addEventListener("keydown", heard, { capture: true });
  return () => removeEventListener("keydown", heard, { capture: true });
}
