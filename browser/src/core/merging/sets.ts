/**
 * Sets: JSON arrays of which additions and removals merge, and an addition wins.
 *
 * Knows: two values and a difference of them. Must not know: SQL or messages.
 * A change says which elements it adds and which it removes: the JSON text `{"add":[],"remove":[]}`.
 *
 * Elements are the same when their canonical texts are: no white space, characters written as
 * themselves, an object's keys in order and each once (the last counts); a number counts as it is
 * written, so 1 and 1.0 are two. A set that a change has made has its elements in the order of these
 * texts, each once; what was written whole stays as it was written until then.
 */

import { BadValue } from "../errors.js";
import type { Value, Wire } from "../values.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g;

/** Texts in the order of their code points. */
function inOrder(one: string, other: string): number {
  const end = Math.min(one.length, other.length);
  for (let at = 0; at < end; at += 1) {
    if (one[at] === other[at]) continue;
    const [a, b] = [one.charCodeAt(at), other.charCodeAt(at)];
    const [aHigh, bHigh] = [a >= 0xd800 && a < 0xe000, b >= 0xd800 && b < 0xe000];
    return aHigh === bHigh ? a - b : aHigh ? 1 : -1;
  }
  return one.length - other.length;
}

/** Reads the canonical texts of what valid JSON says, token by token: `JSON.parse` would not tell how
 * a number is written. */
class Reader {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = text.match(TOKEN) ?? [];
  }

  get #next(): string {
    return this.#tokens[this.#at] ?? "";
  }

  #taken(): string {
    const token = this.#next;
    this.#at += 1;
    return token;
  }

  /** The texts of an array's elements, or null where something else stands. */
  array(): string[] | null {
    if (this.#next !== "[") return null;
    const found: string[] = [];
    this.#list("]", () => found.push(this.value()));
    return found;
  }

  /** By key, what `read` makes of an object's values, or null where something else stands. */
  object<T>(read: () => T): Map<string, T> | null {
    if (this.#next !== "{") return null;
    const found = new Map<string, T>();
    this.#list("}", () => {
      const key = JSON.parse(this.#taken()) as string;
      this.#at += 1; // the colon
      found.set(key, read());
    });
    return found;
  }

  value(): string {
    const array = this.array();
    if (array !== null) return `[${array.join(",")}]`;
    const object = this.object(() => this.value());
    if (object !== null) {
      const keys = [...object.keys()].sort(inOrder);
      return `{${keys.map((key) => `${JSON.stringify(key)}:${object.get(key) ?? ""}`).join(",")}}`;
    }
    const token = this.#taken();
    return token.startsWith('"') ? JSON.stringify(JSON.parse(token)) : token;
  }

  #list(end: string, one: () => void): void {
    this.#at += 1;
    while (this.#next !== end) {
      one();
      if (this.#next === ",") this.#at += 1;
    }
    this.#at += 1;
  }
}

/** Raises `BadValue` for what is no JSON. */
function reader(value: Value): Reader {
  try {
    JSON.parse(String(value));
  } catch {
    throw new BadValue("valid JSON expected");
  }
  return new Reader(String(value));
}

/** The canonical texts of a set's elements, each once. Throws `BadValue`. */
function elements(value: Value): Set<string> {
  const found = reader(value).array();
  if (found === null) throw new BadValue('a set is a JSON array, such as ["a", "b"]');
  return new Set(found);
}

function array(texts: Iterable<string>): string {
  return `[${[...texts].sort(inOrder).join(",")}]`;
}

function without(one: ReadonlySet<string>, other: ReadonlySet<string>): string[] {
  return [...one].filter((text) => !other.has(text));
}

/** Return what an update says that makes of one set another. Throws `BadValue`. */
export function difference(before: Value, after: Value): Value {
  const [old, fresh] = [elements(before), elements(after)];
  return `{"add":${array(without(fresh, old))},"remove":${array(without(old, fresh))}}`;
}

/**
 * A set after a change from one set (null: an insert) to another; as that one was written where it stands on the set
 * that the change was made on.
 */
export function replay(current: Value, before: Value, after: Value): Value {
  if (current === before) return after;
  try {
    const [old, fresh, standing] = [elements(before ?? "[]"), elements(after), elements(current)];
    const [added, removed] = [without(fresh, old), new Set(without(old, fresh))];
    const result = new Set([...without(standing, removed), ...added]);
    const same = result.size === standing.size && without(result, standing).length === 0;
    return same ? current : array(result);
  } catch (error) {
    if (error instanceof BadValue) return after; // a file that was written without its checks
    throw error;
  }
}

/** Two sets between which an update says this. */
export function between(said: Value): readonly [Value, Value] {
  const found = new Map<string, string>();
  const read = reader(said);
  for (const [key, text] of read.object(() => read.value()) ?? []) found.set(key, text);
  return [found.get("remove") ?? "[]", found.get("add") ?? "[]"];
}

/** A set as a list, or what an update says of one, as people read it. */
export function show(wire: Wire): unknown {
  try {
    return typeof wire === "string" ? (JSON.parse(wire) as unknown) : wire;
  } catch {
    return wire;
  }
}
