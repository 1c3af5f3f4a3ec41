/**
 * Hand scanners that type: a burst of keys, faster than fingers, ended by Enter or Tab, or by the
 * suffix that this device's scanner is set to.
 *
 * Knows: how a burst looks. Must not know: what a code means; whoever listened last gets it. A burst
 * that went into a field is taken out of it again.
 */

/** Between two keys of a scanner; people take longer. */
const GAP_MS_MAX = 45;
const LENGTH_MIN = 4;
const MEMORY = "stockroom.scanner";

/** Settings of a scanner: what it types around each code. With a prefix, nothing else is a scan. */
export interface ScannerSettings {
  readonly prefix: string;
  readonly suffix: string;
}

let settings = remembered();

export function scannerSettings(): ScannerSettings {
  return settings;
}

export function setScanner(chosen: ScannerSettings): void {
  settings = chosen;
  localStorage.setItem(MEMORY, JSON.stringify(chosen));
}

function remembered(): ScannerSettings {
  const none = { prefix: "", suffix: "" };
  try {
    const found = JSON.parse(localStorage.getItem(MEMORY) ?? "null") as ScannerSettings | null;
    const fits = typeof found?.prefix === "string" && typeof found.suffix === "string";
    return fits ? found : none;
  } catch {
    return none;
  }
}

/** The code in a burst of keys, or null: it is none. */
function codeIn(burst: string): string | null {
  const { prefix, suffix } = settings;
  if (!burst.startsWith(prefix)) return null;
  const end = suffix !== "" && burst.endsWith(suffix) ? -suffix.length : undefined;
  const code = burst.slice(prefix.length, end);
  return code.length >= LENGTH_MIN ? code : null;
}

type Listener = (code: string) => void;
const listeners: Listener[] = [];

/**
 * The newest listener gets the codes; the answer ends it. `under`: only while there is no other. Who is
 * set up first says nothing: on a page that is loaded, the frame's effects run after its screen's.
 */
export function onScan(listener: Listener, { under = false } = {}): () => void {
  if (under) listeners.unshift(listener);
  else listeners.push(listener);
  return () => {
    const at = listeners.indexOf(listener);
    if (at >= 0) listeners.splice(at, 1);
  };
}

/** Listen to the keyboard of the page; the answer ends it. */
export function listenToKeys(): () => void {
  let burst = "";
  let lastMs = 0;
  /** A suffix has just ended a code: an Enter or Tab right behind it is the scanner's too. */
  let hasTaken = false;
  let field: {
    readonly element: HTMLInputElement | HTMLTextAreaElement;
    readonly before: string;
  } | null = null;

  function take(event: KeyboardEvent): void {
    const code = codeIn(burst);
    if (code === null) return;
    burst = "";
    event.preventDefault();
    event.stopImmediatePropagation();
    if (field !== null) {
      field.element.value = field.before;
      field.element.dispatchEvent(new Event("input", { bubbles: true }));
    }
    listeners.at(-1)?.(code);
  }

  function heard(event: KeyboardEvent): void {
    const { key, timeStamp, target } = event;
    const late = timeStamp - lastMs > GAP_MS_MAX;
    lastMs = timeStamp;
    if (late) burst = "";
    const isTail = hasTaken && !late;
    hasTaken = false;
    if (key === "Enter" || key === "Tab") {
      if (isTail) {
        event.preventDefault();
        event.stopImmediatePropagation();
      } else take(event);
      burst = "";
      return;
    }
    if (key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey) {
      if (key !== "Shift") burst = "";
      return;
    }
    if (burst === "") {
      const typed = target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement;
      field = typed ? { element: target, before: target.value } : null;
    }
    burst += key;
    if (settings.suffix !== "" && burst.endsWith(settings.suffix)) {
      take(event);
      hasTaken = burst === "";
    }
  }

  addEventListener("keydown", heard, { capture: true });
  return () => removeEventListener("keydown", heard, { capture: true });
}
