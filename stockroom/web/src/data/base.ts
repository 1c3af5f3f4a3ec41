/**
 * Where this app lives: at the root of its address, or below a path that a proxy gives it.
 *
 * Knows: the page's own address. Must not know: who asks. All other paths are made of it, and what this
 * browser keeps of one app does not meet another one of the same origin.
 */

/** Begins and ends with a slash. */
export const base: string =
  typeof document === "undefined" ? "/" : new URL(".", document.baseURI).pathname;

/** The path of something of ours, such as `v1/enrol` or `icon.svg`. */
export const at = (name: string): string => base + name;

/** The server, as its replicas call it. */
export const serverUrl = (): string => location.origin + base.slice(0, -1);

/** The name of something that this browser keeps. At the root it is the plain one. */
export const ownName = (name: string): string => (base === "/" ? name : `${name}@${base}`);
