/**
 * The shop itself as its owner keeps it: its name, its stores, and who may do what. Rows like all others: they are
 * changed without a connection, too.
 *
 * Knows: the rows of shop, stores and permissions. Must not know: how they are shown.
 */

import { firstLocationId } from "./ids.js";
import { replica } from "./replica.js";
import type { Deed, Role } from "./rights.svelte.js";
import { columns, insert, type Row, select } from "./rows.js";

const SHOP_FIELDS = columns("shop", ["name", "currency", "time_zone"], "s");
export type Shop = Row<typeof SHOP_FIELDS>;
export const SHOP = select(SHOP_FIELDS, "FROM shop AS s WHERE s.id = 'shop'");

/** Change what differs: what was not changed is nobody's work. */
export async function saveShop(before: Shop | null, shop: Shop): Promise<void> {
  if (before === null) {
    await replica().write([insert("shop", { id: "shop", ...shop })]);
    return;
  }
  const names = (["name", "currency", "time_zone"] as const).filter(
    (name) => before[name] !== shop[name],
  );
  if (names.length === 0) return;
  await replica().write([
    {
      sql: `UPDATE shop SET ${names.map((name) => `${name} = ?`).join(", ")} WHERE id = 'shop'`,
      params: names.map((name) => shop[name]),
    },
  ]);
}

export async function renameStore(id: string, name: string): Promise<void> {
  await replica().write([{ sql: "UPDATE store SET name = ? WHERE id = ?", params: [name, id] }]);
}

/** Add a store with its first location. */
export async function addStore(name: string): Promise<void> {
  const id = replica().newId();
  await replica().write([
    insert("store", { id, name }),
    insert("location", { id: await firstLocationId(id), store_id: id }),
  ]);
}

/** Say what a role may do. */
export async function setAllowed(role: Role, deed: Deed, allowed: boolean): Promise<void> {
  await replica().write([
    {
      sql:
        "INSERT INTO permission (role, deed, allowed) VALUES (?1, ?2, ?3) " +
        "ON CONFLICT (role, deed) DO UPDATE SET allowed = excluded.allowed",
      params: [role, deed, allowed ? 1 : 0],
    },
  ]);
}
