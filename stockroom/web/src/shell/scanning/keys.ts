/**
 * Signs that keys stand for: as the layout of the system has them, and by their places on a keyboard.
 *
 * Knows: key events. Must not know: bursts. A scanner that thinks of an American keyboard types `&é"` for
 * 123 where the system thinks of a French one: the places of the keys are the same.
 */

const PLACES: Readonly<Record<string, readonly [plain: string, shifted: string]>> = {
  Minus: ["-", "_"],
  Equal: ["=", "+"],
  Slash: ["/", "?"],
  Period: [".", ">"],
  Comma: [",", "<"],
  Semicolon: [";", ":"],
  Quote: ["'", '"'],
  BracketLeft: ["[", "{"],
  BracketRight: ["]", "}"],
  Backslash: ["\\", "|"],
  Space: [" ", " "],
  NumpadDecimal: [".", "."],
  NumpadSubtract: ["-", "-"],
  NumpadAdd: ["+", "+"],
  NumpadDivide: ["/", "/"],
};

/** Between the elements of a GS1 code: scanners type it as Ctrl and ], or as it is. */
export const GROUP = "\u001d";

export interface Typed {
  readonly sign: string;
  readonly place: string;
}

type Event = Pick<KeyboardEvent, "key" | "code" | "shiftKey" | "ctrlKey" | "altKey" | "metaKey">;

/** Signs of a key; null for one that types nothing. A digit in its place is that digit, shifted or not. */
export function typedBy(event: Event): Typed | null {
  const { key, code, shiftKey } = event;
  if (key === GROUP || (event.ctrlKey && (key === "]" || code === "BracketRight")))
    return { sign: GROUP, place: GROUP };
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1];
  const letter = /^Key([A-Z])$/.exec(code)?.[1];
  const place =
    digit ??
    (letter === undefined
      ? (PLACES[code]?.[shiftKey ? 1 : 0] ?? "")
      : shiftKey
        ? letter
        : letter.toLowerCase());
  // AltGr is Ctrl and Alt in some systems, and types a sign.
  const isCommand = event.metaKey || event.ctrlKey !== event.altKey;
  if (isCommand) return null;
  if ([...key].length === 1) return { sign: key, place: place === "" ? key : place };
  // Dead keys and keyboards on glass do not say what they type.
  const isMute = key === "Dead" || key === "Unidentified" || key === "Process";
  return isMute && place !== "" ? { sign: place, place } : null;
}

/** Whether a key ends codes: Enter, Tab, or a line feed as some scanners type it. */
export const endsCodes = ({ key, code, ctrlKey }: Event): boolean =>
  key === "Enter" || key === "Tab" || (ctrlKey && (code === "KeyJ" || code === "KeyM"));
