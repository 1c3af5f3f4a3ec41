/**
 * What waits for the server, counted as the status counts it.
 *
 * Knows: that rows belong to local transactions. Must not know: how any of it is worded.
 */

/** The rows of each local transaction together, in the order they came in: a receipt is one change,
 * however many lines it has. */
export function byTransaction<T extends { readonly tx: number }>(rows: readonly T[]): T[][] {
  const found = new Map<number, T[]>();
  for (const row of rows) {
    const before = found.get(row.tx);
    if (before === undefined) found.set(row.tx, [row]);
    else before.push(row);
  }
  return [...found.values()];
}
