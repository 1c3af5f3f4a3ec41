/**
 * Hand scanners that type, on the whole page: codes go to whoever listened last, and what went into a field
 * on the way is taken out of it again.
 *
 * Knows: key events and fields. Must not know: what a code means. How a burst is told from fingers is in
 * `scanning/`. Upholds: no key of a scan sends a form, presses a button or stays in a field; digits that
 * may be a part of a code reach nobody unless the shop has just that number.
 */

import { type Known, UNKNOWN } from "./scanning/burst.js";
import { Ear, type Heard, type Run } from "./scanning/ear.js";
import { endsCodes, typedBy } from "./scanning/keys.js";

export type { Known, Run };
export { UNKNOWN };

const MEMORY = "stockroom.scanner";
/** After so many pauses of its rhythm, a scanner that presses nothing behind a code has ended. */
const IDLE_GAPS = 5;
const IDLE_MS_MIN = 150;
const MODIFIERS: ReadonlySet<string> = new Set([
  "Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock", "NumLock",
]); // prettier-ignore

let known = remembered();

/** What this device knows of its scanner. */
export const scannerSettings = (): Known => known;

export function setScanner(changed: Partial<Known>): void {
  known = { ...known, ...changed };
  localStorage.setItem(MEMORY, JSON.stringify(known));
}

function remembered(): Known {
  try {
    const found = JSON.parse(localStorage.getItem(MEMORY) ?? "null") as Partial<Known> | null;
    const text = (value: unknown): string => (typeof value === "string" ? value : "");
    return {
      gapMs: typeof found?.gapMs === "number" ? found.gapMs : null,
      prefix: text(found?.prefix),
      suffix: text(found?.suffix),
      byPlace: found?.byPlace === true,
      ending: found?.ending === "none" ? "none" : "key",
    };
  } catch {
    return UNKNOWN;
  }
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

/** A code that came in another way than by keys, such as the camera's: to whoever listens to scans. */
export const hear = (code: string): void => listeners.at(-1)?.(code);

type RunListener = (run: Run) => void;
let runListener: RunListener | null = null;

/** Hear every unbroken run of keys, whether it is taken for a scan or not; the answer ends it. */
export function onRun(listener: RunListener): () => void {
  runListener = listener;
  return () => {
    if (runListener === listener) runListener = null;
  };
}

interface Judges {
  /** Whether the shop has just this number. */
  readonly isKnown: (code: string) => Promise<boolean>;
  /** Only a part of a code was read. */
  readonly part: (read: string) => void;
}

type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;
interface Mark {
  readonly field: Field | null;
  readonly before: string;
}

const isField = (target: EventTarget | null): target is Field =>
  target instanceof HTMLInputElement ||
  target instanceof HTMLTextAreaElement ||
  target instanceof HTMLSelectElement;

const typesInto = (target: EventTarget | null): boolean =>
  isField(target) && !["radio", "checkbox", "button", "submit"].includes(target.type);

/** Each field as it was before the first of these keys. */
function restore(marks: readonly Mark[]): void {
  const done = new Set<Field>();
  for (const { field, before } of marks) {
    if (field === null || done.has(field)) continue;
    done.add(field);
    if (field.value === before) continue;
    field.value = before;
    // For whoever holds the value besides the field.
    for (const type of ["input", "change"]) field.dispatchEvent(new Event(type, { bubbles: true }));
  }
}

/** Listen to the keyboard of the page; the answer ends it. */
export function listenToKeys(judges: Judges): () => void {
  const ear = new Ear<Mark>(scannerSettings);
  let idle: ReturnType<typeof setTimeout> | undefined;

  function deliver({ kind, code, marks }: Heard<Mark>): void {
    restore(marks);
    const listener = listeners.at(-1);
    if (kind === "code") listener?.(code);
    else if (kind === "part") judges.part(code);
    else
      void judges
        .isKnown(code)
        .then((isKnown) => (isKnown ? listener?.(code) : judges.part(code)))
        .catch((error: unknown) => console.error(error));
  }

  function swallow(event: KeyboardEvent): void {
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  function tell(ending: Run["ending"]): void {
    const run = runListener === null ? null : ear.run(ending);
    if (run !== null) runListener?.(run);
  }

  function settle(ms: number): void {
    tell("none");
    const heard = ear.idle(ms);
    if (heard !== null) deliver(heard);
  }

  function heard(event: KeyboardEvent): void {
    const { timeStamp: ms, target } = event;
    if (event.isComposing || MODIFIERS.has(event.key)) return;
    clearTimeout(idle);
    if (event.repeat) return ear.forget();
    if (endsCodes(event)) {
      tell("key");
      const code = ear.end(ms);
      if (code !== null) deliver(code);
      if (code !== null || ear.isTail(ms)) swallow(event);
      return;
    }
    const typed = typedBy(event);
    if (typed === null) return ear.forget();
    const isTyped = typesInto(target);
    const mark: Mark = isField(target)
      ? { field: target, before: target.value }
      : { field: null, before: "" };
    const isRunning = ear.isRunning;
    const code = ear.press({ ...typed, ms }, mark);
    if (code !== null) {
      swallow(event);
      deliver(code);
      return;
    }
    // A blank within a code presses no button, and a letter is no shortcut.
    if (isRunning && !isTyped) swallow(event);
    const pauseMs = Math.max(IDLE_MS_MIN, IDLE_GAPS * (known.gapMs ?? 0));
    if (known.ending === "none" || runListener !== null)
      idle = setTimeout(() => settle(ms + pauseMs), pauseMs);
  }

  const forget = (): void => ear.forget();
  addEventListener("keydown", heard, { capture: true });
  addEventListener("pointerdown", forget, { capture: true });
  return () => {
    clearTimeout(idle);
    removeEventListener("keydown", heard, { capture: true });
    removeEventListener("pointerdown", forget, { capture: true });
  };
}
