/**
 * A file that a person is given to keep.
 *
 * Knows: how a browser saves one. Must not know: what is in it.
 */

const KEPT_MS = 10_000;

/** Save it as `NAME-MOMENT.ENDING` where the browser puts files. */
export function handOver(content: Blob, name: string, ending: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = `${name}-${new Date().toISOString().slice(0, 16).replaceAll(":", "-")}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}
