/**
 * Foreign keys, looked at while news are applied: the database itself does not enforce them then.
 *
 * Knows: which rows refer to which. Must not know: who is to blame, or transactions.
 * Only keys that a replica enforces count. Upholds, with `replay`, that work of this device never
 * leaves a row without its parent.
 */

import { keyText, keyValues, type Row } from "../../core/keys.js";
import { same } from "../../core/values.js";
import type { AsideReason } from "../storage/aside.js";
import type { Overlay } from "./overlay.js";

/** A table and a key. */
export interface RowPlace {
  readonly table: string;
  readonly key: string;
}

/** A row (`child`) that refers to one that is not there; `values`: of the key's columns. */
export interface Orphan {
  readonly child: RowPlace;
  readonly parent: RowPlace;
  readonly columns: readonly string[];
  readonly positions: readonly number[];
  readonly values: Row;
}

/** Return whether that version of the child refers to the same parent. */
export function refersAlike({ positions, values }: Orphan, row: Row | null): boolean {
  return row !== null && positions.every((at, n) => same(row[at] ?? null, values[n] ?? null));
}

/** Return why a transaction is not shown that takes the parent away, or brings the child. */
export function orphaned({ child, parent, columns }: Orphan, byParent: boolean): AsideReason {
  const message = `${child.table} ${child.key} refers to ${parent.table} ${parent.key}`;
  const code = "foreign_key";
  if (byParent) return { code, message, field: "", heldBy: 0 };
  return { code, message: `${message}, which is not there`, field: columns[0] ?? "", heldBy: 0 };
}

/** The foreign keys among the tables of a replica. */
export class References {
  readonly #overlays: ReadonlyMap<string, Overlay>;
  readonly #children = new Map<string, [Overlay, number][]>();

  constructor(overlays: ReadonlyMap<string, Overlay>) {
    this.#overlays = overlays;
    for (const overlay of overlays.values())
      overlay.references.forEach(({ table }, at) => {
        this.#children.set(table, [...(this.#children.get(table) ?? []), [overlay, at]]);
      });
  }

  /** Rows that are not there any more, and may have children: those that news removed, and those that
   * changes of ours delete. */
  bereaved(removed: ReadonlyMap<string, ReadonlySet<string>>): RowPlace[] {
    return [...this.#children.keys()].flatMap((table) =>
      [
        ...new Set([
          ...(removed.get(table) ?? []),
          ...(this.#overlays.get(table)?.deletedKeys() ?? []),
        ]),
      ].map((key) => ({ table, key })),
    );
  }

  /** This row as a child without its parent, or its children when it is not there. */
  orphans(place: RowPlace): Orphan[] {
    const overlay = this.#overlays.get(place.table) as Overlay;
    const row = overlay.visible(place.key);
    if (row === null) {
      const values = keyValues(overlay.table, place.key);
      return (this.#children.get(place.table) ?? []).flatMap(([child, at]) =>
        child.children(at, values).map((key) => orphan(child, at, key, place, values)),
      );
    }
    return overlay.references.flatMap(({ table, columns }, at) => {
      const parent = this.#overlays.get(table) as Overlay;
      const values = columns.map((name) => row[overlay.table.positions.get(name) ?? -1] ?? null);
      if (values.includes(null)) return [];
      const key = keyText(parent.table, values);
      if (parent.visible(key) !== null) return [];
      return [orphan(overlay, at, place.key, { table, key }, values)];
    });
  }
}

function orphan(child: Overlay, at: number, key: string, parent: RowPlace, values: Row): Orphan {
  const columns = child.references[at]?.columns ?? [];
  const positions = columns.map((name) => child.table.positions.get(name) ?? -1);
  return { child: { table: child.table.name, key }, parent, columns, positions, values };
}
