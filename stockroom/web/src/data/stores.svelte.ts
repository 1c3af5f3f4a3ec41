/**
 * The store this device works in, and what else it remembers for itself.
 *
 * Knows: `device_setting` and the scopes that were granted. Must not know: what happens in a store.
 */

import { Live, type Question, text, whole } from "./live.svelte.js";
import { replica } from "./replica.js";

export interface Store {
  readonly id: string;
  readonly name: string;
}

/** Stores whose work this device may write. */
export const STORES: Question = {
  sql:
    "SELECT substr(g.scope, 7), coalesce(nullif(s.name, ''), substr(g.scope, 7)) " +
    "FROM holdfast_scope AS g LEFT JOIN store AS s ON s.id = substr(g.scope, 7) " +
    "WHERE g.scope LIKE 'store/%' AND g.writable = 1 ORDER BY 2",
};

/** How much has arrived: products, movements, and whether a first answer was stored. */
export const ARRIVED: Question = {
  sql:
    "SELECT (SELECT count(*) FROM product), (SELECT count(*) FROM movement), " +
    "(SELECT count(*) FROM holdfast_scope)",
};

class Place {
  store = $state("");
  name = $state("");
}

export const place = new Place();

export async function rememberedStore(): Promise<string | null> {
  const { rows } = await replica().query("SELECT value FROM device_setting WHERE name = 'store'");
  return rows[0] === undefined ? null : text(rows[0][0]);
}

export async function chooseStore(id: string): Promise<void> {
  await replica().write([
    {
      sql:
        "INSERT INTO device_setting (name, value) VALUES ('store', ?) " +
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
      params: [id],
    },
  ]);
  place.store = id;
}

/** Follow the stores there are for as long as the calling component lives. */
export function followStores(): Live<Store[]> {
  return new Live(
    () => STORES,
    (rows) => rows.map((row) => ({ id: text(row[0]), name: text(row[1]) })),
  );
}

export function followArrivals(): Live<{ products: number; movements: number; scopes: number }> {
  return new Live(
    () => ARRIVED,
    ([row]) => ({ products: whole(row?.[0]), movements: whole(row?.[1]), scopes: whole(row?.[2]) }),
  );
}
