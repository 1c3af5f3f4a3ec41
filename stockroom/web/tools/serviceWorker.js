/**
 * The service worker: the app's own files, kept whole, so that it starts with no connection.
 *
 * Knows: the files of one build; the build writes their list in front of this. Must not know: the API,
 * which it never touches. A new version is fetched whole beside the old one and waits until somebody
 * says so: a page never gets files of two versions, and nothing that is being typed is lost.
 */

/* global VERSION, FILES, LATER */
/** Where the app lives, with a slash at its end. Another one of this origin has caches of its own. */
const BASE = new URL(self.registration.scope).pathname;
const OURS = BASE === "/" ? "stockroom-" : `stockroom@${BASE}-`;
const CACHE = OURS + VERSION;
/** Paths below it that are the server's own affair. */
const SERVERS = ["v1/", "trust/"].map((name) => BASE + name);

/** Files that only some devices need: kept when one of them is asked for, and taken over from the version before. */
const ONCE_ASKED = new Set(LATER.map((path) => BASE + path));

self.addEventListener("install", (event) => {
  // Past the browser's own cache: a stale file must not become part of a new version.
  const files = FILES.map((path) => new Request(BASE + path, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(files)));
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    const cache = await caches.open(CACHE);
    for (const path of ONCE_ASKED) {
      const kept = await caches.match(path);
      if (kept !== undefined) await cache.put(path, kept);
    }
    const old = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

self.addEventListener("message", (event) => {
  if (event.data === "take over") void self.skipWaiting();
  if (event.data === "keep decoder") event.waitUntil(keepLater());
});

async function keepLater() {
  const cache = await caches.open(CACHE);
  for (const path of ONCE_ASKED) if ((await cache.match(path)) === undefined) await cache.add(path);
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (SERVERS.some((path) => url.pathname.startsWith(path))) return;
  const page = request.mode === "navigate";
  if (page && url.pathname !== BASE && url.pathname !== `${BASE}index.html`) {
    // What the page needs lies beside it; the place in the app stays in the address.
    event.respondWith(Response.redirect(BASE));
    return;
  }
  const path = page ? `${BASE}index.html` : url.pathname;
  const answer = async () => {
    const cache = await caches.open(CACHE);
    const kept = await cache.match(path);
    if (kept !== undefined) return kept;
    const fetched = await fetch(request);
    if (fetched.ok && ONCE_ASKED.has(path)) event.waitUntil(cache.put(path, fetched.clone()));
    return fetched;
  };
  event.respondWith(answer());
});
