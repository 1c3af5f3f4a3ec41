/**
 * What the measuring tool plants into the page: when something was asked for, and when it was painted.
 *
 * Knows: marks of the screens. Must not know: how they are made. A script of the page, not a module.
 */

globalThis.measuring = (() => {
  let keyAt = 0;
  let clickAt = 0;
  // Before anybody else: the time at which the page has the key, the last key of a scan included.
  addEventListener("keydown", () => (keyAt = performance.now()), { capture: true });
  addEventListener("click", () => (clickAt = performance.now()), { capture: true });

  /** After the frame that shows what is in the document now. */
  const frame = () =>
    new Promise((painted) =>
      requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => painted(performance.now());
        port2.postMessage(null);
      }),
    );

  /** When the page shows it, by the mutation that brought it and the frame after it. */
  const shown = (isSo) =>
    new Promise((resolve) => {
      const look = () => {
        if (!isSo()) return false;
        observer.disconnect();
        void frame().then(resolve);
        return true;
      };
      const observer = new MutationObserver(look);
      if (!look())
        observer.observe(document, {
          subtree: true,
          childList: true,
          attributes: true,
          characterData: true,
        });
    });

  const list = () => document.querySelector("[data-shown]");
  const isSearched = (typed) => list()?.dataset.shown === typed;
  const isSheet = (id) =>
    location.hash === `#/product/${id}` &&
    document.querySelector("[data-on-hand]") !== null &&
    document.querySelector("li.entry, [data-no-ledger]") !== null;
  const isList = () => document.querySelectorAll("[data-shown] li").length > 0;
  const isAt = (index) =>
    document.querySelector(`[data-shown] li[aria-posinset="${index + 1}"]`) !== null;

  return {
    list: () => shown(isList),
    searched: async (typed) => (await shown(() => isSearched(typed))) - keyAt,
    scanned: async (id) => (await shown(() => isSheet(id))) - keyAt,
    opened: async (id) => {
      const began = performance.now();
      location.hash = `#/product/${id}`;
      return (await shown(() => isSheet(id))) - began;
    },
    saved: async (words) =>
      (await shown(() => document.body.textContent.includes(words))) - clickAt,
    jumped: async (index, rowPx) => {
      const began = performance.now();
      list().scrollTop = index * rowPx;
      return (await shown(() => isAt(index))) - began;
    },
    results: () => ({
      said: document.querySelector("[role=status].count")?.textContent ?? "",
      first: document.querySelector("[data-shown] li .name")?.textContent ?? "",
    }),
  };
})();
