/**
 * What waits for the server, counted as a person counts it.
 *
 * Knows: that rows belong to local transactions, and some of these to one delivery. Must not know: how any of it is
 * worded.
 */

interface Part {
  readonly tx: number;
  readonly table: string;
  readonly key: string;
  readonly delivery: string;
}

/** Rows that are one thing, in the order they came in: those of a local transaction, however many they are, and all
 * that was done to a delivery, in however many. Of what was changed repeatedly the first row that came in is there. */
export function byThing<T extends Part>(rows: readonly T[]): T[][] {
  const deliveries = new Map<number, string>();
  for (const { tx, delivery } of rows) if (delivery !== "") deliveries.set(tx, delivery);
  const found = new Map<number | string, Map<string, T>>();
  for (const row of rows) {
    const thing = deliveries.get(row.tx) ?? row.tx;
    const parts = found.get(thing) ?? new Map<string, T>();
    found.set(thing, parts);
    const name = `${row.table} ${row.key}`;
    if (!parts.has(name)) parts.set(name, row);
  }
  return [...found.values()].map((parts) => [...parts.values()]);
}
