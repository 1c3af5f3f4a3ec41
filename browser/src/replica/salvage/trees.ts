/**
 * Trees of a damaged file: the rows of its tables, with the holes in them.
 *
 * Knows: trees of pages, and the file's own list of tables. Must not know: what the tables mean.
 * A tree is walked from its root as far as pages can be read; each child that cannot is a *hole*. Trees
 * that nothing leads to any more have lost the page above them, or their entry in that list: what is
 * deleted is overwritten in a replica's file, so they are no old ones. Whose they are, their rows say.
 */

import { DAMAGED_DEPTH_MAX } from "../../core/limits.js";
import type { Pages } from "./pages.js";
import {
  children,
  INDEX_INNER,
  INDEX_LEAF,
  pageHead,
  type PageHead,
  readCell,
  type StoredRecord,
  TABLE_INNER,
  TABLE_LEAF,
  Unreadable,
} from "./records.js";

const KINDS: ReadonlySet<unknown> = new Set(["table", "index", "view", "trigger"]);

/** An entry of the file's list of tables and indexes. */
export interface StoredObject {
  readonly kind: string;
  readonly name: string;
  readonly table: string;
  readonly root: number;
  readonly sql: string;
}

/** The rows of one tree, in order. `holes`: where among them (before which place) some may be missing;
 * `reached`: the pages that the tree leads to. */
export interface TreeRows {
  readonly cells: StoredRecord[];
  readonly holes: number[];
  readonly reached: Set<number>;
}

const noRows = (): TreeRows => ({ cells: [], holes: [], reached: new Set() });

/** The trees of one damaged file. */
export class Trees {
  /** How many lost trees have no rows: only a table without any has such a one. */
  emptyLost = 0;
  readonly objects: ReadonlyMap<string, StoredObject>;
  readonly #pages: Pages;

  constructor(pages: Pages) {
    this.#pages = pages;
    this.objects = this.#listed();
  }

  /** Tables, indexes and what else the file lists, by name: from its first page, and from any leaf that
   * can only be a part of that list. */
  #listed(): Map<string, StoredObject> {
    const found = new Map<string, StoredObject>();
    const first = this.rows(1);
    for (const cell of first.cells) note(found, cell);
    if (first.holes.length > 0)
      for (let number = 1; number <= this.#pages.count; number += 1)
        if (!first.reached.has(number)) for (const cell of this.#leaf(number)) note(found, cell);
    return found;
  }

  /** All that can be read of a tree. A root that cannot be is one hole. */
  rows(root: number): TreeRows {
    const found = noRows();
    this.#walk(root, null, found, 0, true);
    return found;
  }

  /** Trees of tables that nothing leads to: whole ones that the list lacks, and parts. */
  lostTrees(): TreeRows[] {
    const reached = new Set(this.rows(1).reached);
    for (const { root } of this.objects.values()) {
      if (root === 0) continue;
      const found = noRows();
      this.#walk(root, null, found, 0, false);
      for (const page of found.reached) reached.add(page);
    }
    const left: number[] = [];
    for (let number = 2; number <= this.#pages.count; number += 1)
      if (!reached.has(number)) left.push(number);
    const below = new Set(left.flatMap((number) => this.#children(number)));
    const lost: TreeRows[] = [];
    for (const number of left) {
      const kind = this.#head(number)?.head.kind;
      if (below.has(number) || (kind !== TABLE_INNER && kind !== TABLE_LEAF)) continue;
      const found = this.rows(number);
      if (found.cells.length > 0) lost.push(found);
      else if (found.holes.length === 0) this.emptyLost += 1;
    }
    return lost;
  }

  #head(number: number): { readonly page: Uint8Array; readonly head: PageHead } | null {
    const page = this.#pages.get(number);
    if (page === null) return null;
    try {
      return { page, head: pageHead(page, number) };
    } catch (error) {
      if (error instanceof Unreadable) return null;
      throw error;
    }
  }

  #children(number: number): number[] {
    const found = this.#head(number);
    return found?.head.kind === TABLE_INNER ? children(found.page, found.head) : [];
  }

  /** The rows of a page, if it is a leaf of a table. */
  #leaf(number: number): StoredRecord[] {
    const found = this.#head(number);
    if (found?.head.kind !== TABLE_LEAF) return [];
    const rows = noRows();
    for (const at of found.head.cells) this.#take(found.page, found.head, at, rows);
    return rows.cells;
  }

  /** `wanted`: the kind of leaf, once it is known. */
  #walk(
    number: number,
    wanted: number | null,
    found: TreeRows,
    depth: number,
    reads: boolean,
  ): void {
    const isNew = !found.reached.has(number) && depth <= DAMAGED_DEPTH_MAX;
    const at = isNew ? this.#head(number) : null;
    const isTable = at?.head.kind === TABLE_INNER || at?.head.kind === TABLE_LEAF;
    const leaf = isTable ? TABLE_LEAF : INDEX_LEAF;
    if (at === null || (wanted !== null && wanted !== leaf)) {
      found.holes.push(found.cells.length);
      return;
    }
    const { page, head } = at;
    found.reached.add(number);
    if (this.#pages.doubtful.has(number)) found.holes.push(found.cells.length);
    if (head.kind === TABLE_LEAF || head.kind === INDEX_LEAF) {
      if (reads) for (const place of head.cells) this.#take(page, head, place, found);
      return;
    }
    children(page, head).forEach((child, place) => {
      this.#walk(child, leaf, found, depth + 1, reads);
      const cell = head.cells[place];
      if (reads && head.kind === INDEX_INNER && cell !== undefined)
        this.#take(page, head, cell, found);
    });
  }

  #take(page: Uint8Array, head: PageHead, at: number, found: TreeRows): void {
    try {
      const cell = readCell(this.#pages, page, head, at);
      if (!cell.isWhole) found.holes.push(found.cells.length);
      found.cells.push(cell);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      found.holes.push(found.cells.length);
    }
  }
}

function note(found: Map<string, StoredObject>, { values, isWhole }: StoredRecord): void {
  const [kind, name, table, root, sql] = values;
  if (values.length !== 5 || !isWhole || !KINDS.has(kind)) return;
  if (typeof name !== "string" || typeof table !== "string" || typeof root !== "bigint") return;
  if (found.has(name)) return;
  const text = typeof sql === "string" ? sql : "";
  found.set(name, { kind: String(kind), name, table, root: Number(root), sql: text });
}
