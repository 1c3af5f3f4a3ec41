/**
 * Figures as people and programs read them.
 *
 * Knows: samples in milliseconds. Must not know: what was measured.
 */

export function summary(samples) {
  const sorted = [...samples].sort((left, right) => left - right);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return {
    count: sorted.length,
    p50: rounded(at(0.5)),
    p95: rounded(at(0.95)),
    most: rounded(sorted.at(-1) ?? 0),
  };
}

export const rounded = (value) => Math.round(value * 10) / 10;

/** A table of what was measured: milliseconds as somebody waits them, and processor time of a round. */
export function table(results) {
  const head = ["", "n", "p50 ms", "p95 ms", "most ms", "cpu ms"];
  const rows = Object.entries(results).map(([name, { count, p50, p95, most, cpu = "" }]) =>
    [name, count, p50, p95, most, cpu].map(String),
  );
  const widths = head.map((_, at) => Math.max(...[head, ...rows].map((row) => row[at].length)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
        .join("  "),
    )
    .join("\n");
}
