/**
 * The store this device works in, and what else it remembers for itself.
 *
 * Knows: `device_setting` and the scopes that were granted. Must not know: what happens in a store.
 */

import { Live } from "./live.svelte.js";
import { ask, replica } from "./replica.js";
import { asText, asWhole, type Row, select } from "./rows.js";

const STORE = {
  id: asText("g.id"),
  name: asText("coalesce(nullif(s.name, ''), g.id)"),
};
export type Store = Row<typeof STORE>;

/** Stores whose work this device may write. An owner's are all: of one in which nothing has happened yet there is no
 * scope to be granted, and who may write `staff` may write them, too. */
export const STORES = select(
  STORE,
  "FROM (SELECT substr(scope, 7) AS id FROM holdfast_scope WHERE scope LIKE 'store/%' AND writable = 1 " +
    "UNION SELECT id FROM store WHERE EXISTS " +
    "(SELECT 1 FROM holdfast_scope WHERE scope = 'staff' AND writable = 1)) AS g " +
    "LEFT JOIN store AS s ON s.id = g.id ORDER BY coalesce(nullif(s.name, ''), g.id)",
);

const COUNTS = {
  products: asWhole("(SELECT count(*) FROM product)"),
  movements: asWhole("(SELECT count(*) FROM movement)"),
  scopes: asWhole("(SELECT count(*) FROM holdfast_scope)"),
};
/** Counts of what has arrived, and whether a first answer was stored. */
export type Arrived = Row<typeof COUNTS>;
export const ARRIVED = select(COUNTS, "");

const CHOSEN = select({ id: asText("value") }, "FROM device_setting WHERE name = 'store'");

class Place {
  store = $state("");
  name = $state("");
}

export const place = new Place();

export async function rememberedStore(): Promise<string | null> {
  return (await ask(CHOSEN))[0]?.id ?? null;
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
export function followStores(): Live<readonly Store[]> {
  return new Live(
    () => STORES,
    (rows) => rows,
  );
}

export function followArrivals(): Live<Arrived> {
  return new Live(
    () => ARRIVED,
    ([counts]) => counts ?? { products: 0, movements: 0, scopes: 0 },
  );
}
