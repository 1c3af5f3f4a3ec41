/**
 * Replay: the unsettled changes of one table, made again on rows that hold server truth.
 *
 * Knows: how changes are ordered, and which of them yields when two want one unique value. Must not
 * know: messages or the network. Upholds I15 and I32, and that server truth never fails to apply.
 *
 * A transaction is a set, so changes are first tried all together. When something collides, all rows
 * that have to do with it are taken up again, in the order of their transactions: truth stays, the
 * row changed later yields. What does not fit is `held`, until the next replay.
 */

import { byCodePoint, type Row } from "../core/keys.js";
import { assemble, dataOf, fold, type Note, type Overlay } from "./overlay.js";

/** The row a person should see: truth and the changes on it, as far as none is held. */
export function shown(overlay: Overlay, key: string): Row | null {
  return folded(overlay, key, overlay.truth(key, new Set()), overlay.notes(key));
}

function folded(
  overlay: Overlay,
  key: string,
  truth: Row | null,
  notes: readonly Note[],
): Row | null {
  let data = truth === null ? null : dataOf(overlay.table, truth);
  for (const note of notes) data = fold(overlay.table, data, note);
  return data === null ? null : assemble(overlay.table, key, data);
}

/** `left`: all keys with unsettled changes; `decided`: transactions that are being settled now. */
export class Replay {
  readonly #overlay: Overlay;
  readonly #left: ReadonlySet<string>;
  readonly #decided: ReadonlySet<number>;
  readonly #truth = new Map<string, Row | null>();
  readonly #notes = new Map<string, readonly Note[]>();
  readonly #whole = new Map<string, Row | null>();

  constructor(overlay: Overlay, left: ReadonlySet<string>, decided: ReadonlySet<number>) {
    this.#overlay = overlay;
    this.#left = left;
    this.#decided = decided;
  }

  /** Replay these rows, and whatever turns out to collide with them. */
  run(wanted: ReadonlySet<string>): void {
    this.#load(wanted);
    if (this.#ordered(wanted).every((key) => this.#fits(key))) {
      this.#release(wanted);
      return;
    }
    const keys = this.#connected(wanted);
    if (this.#overlay.table.unique.length > 0)
      for (const key of keys) this.#overlay.write(key, null);
    const fallen = this.#fall(this.#ordered(keys).filter((key) => !this.#fits(key)));
    this.#rise(fallen);
    for (const key of this.#ordered(fallen)) this.#oneByOne(key);
    this.#rise(fallen);
    this.#release([...this.#notes.keys()].filter((key) => !fallen.has(key)));
  }

  #fits(key: string): boolean {
    return this.#overlay.fits(key, this.#whole.get(key) ?? null);
  }

  #load(keys: Iterable<string>): void {
    for (const key of keys)
      this.#take(key, this.#overlay.truth(key, this.#decided), this.#overlay.notes(key));
  }

  #take(key: string, truth: Row | null, notes: readonly Note[]): void {
    this.#truth.set(key, truth);
    this.#notes.set(key, notes);
    this.#whole.set(key, folded(this.#overlay, key, truth, notes));
  }

  /** A row whose unique values are by now those of a row without work of ours is gone: the server
   * has forgotten its removal while we were away. */
  #checkStale(key: string): void {
    const truth = this.#truth.get(key) ?? null;
    if (truth !== null && this.#overlay.colliding(truth).some((other) => !this.#left.has(other)))
      this.#take(key, null, this.#notes.get(key) ?? []);
  }

  /** By the first transaction of a row: on a collision the later one yields. */
  #ordered(keys: Iterable<string>): string[] {
    const first = (key: string): number => this.#notes.get(key)?.[0]?.tx ?? 0;
    return [...keys].sort((a, b) => first(a) - first(b) || byCodePoint(a, b));
  }

  /** The rows, and all with unsettled changes that hold a unique value which these want. */
  #connected(keys: ReadonlySet<string>): Set<string> {
    const known = new Set(keys);
    let fresh = new Set(keys);
    while (fresh.size > 0) {
      const found = new Set<string>();
      for (const key of fresh)
        for (const row of [this.#truth.get(key), this.#whole.get(key)])
          if (row) for (const other of this.#overlay.colliding(row)) found.add(other);
      fresh = new Set([...found].filter((key) => this.#left.has(key) && !known.has(key)));
      this.#load(fresh);
      for (const key of fresh) known.add(key);
    }
    return known;
  }

  /** Put truth in place of what does not fit, and of what stands in the way of that truth. */
  #fall(failed: string[]): Set<string> {
    const fallen = new Set<string>();
    const queue = [...failed];
    for (let key = queue.shift(); key !== undefined; key = queue.shift()) {
      if (fallen.has(key)) continue;
      fallen.add(key);
      this.#checkStale(key);
      const truth = this.#truth.get(key) ?? null;
      if (truth !== null) {
        const removed = this.#overlay.makeRoom(truth);
        this.#load(removed.filter((other) => !this.#notes.has(other)));
        queue.push(...removed);
      }
      this.#overlay.write(key, truth);
    }
    return fallen;
  }

  /** Bring back, whole, what fits after all; each that does may make room for another. */
  #rise(fallen: Set<string>): void {
    let risen = true;
    while (risen) {
      risen = false;
      for (const key of this.#ordered(fallen))
        if (this.#fits(key)) {
          fallen.delete(key);
          risen = true;
        }
    }
  }

  #oneByOne(key: string): void {
    const { table } = this.#overlay;
    const truth = this.#truth.get(key) ?? null;
    let data = truth === null ? null : dataOf(table, truth);
    for (const note of this.#notes.get(key) ?? []) {
      const changed = fold(table, data, note);
      const fits = this.#overlay.fits(key, changed === null ? null : assemble(table, key, changed));
      if (fits) data = changed;
      this.#overlay.setHeld(note, !fits);
    }
  }

  /** Nothing of these rows is held (any more). */
  #release(keys: Iterable<string>): void {
    const held = this.#overlay.heldKeys();
    for (const key of keys)
      if (held.has(key))
        for (const note of this.#notes.get(key) ?? []) this.#overlay.setHeld(note, false);
  }
}
