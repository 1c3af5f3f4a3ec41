/**
 * The second tap of a double tap, which belongs to what the first one has hit.
 *
 * Knows: clicks. Must not know: what they do. What has come to lie below the finger in between was not read
 * by anybody: such a tap does nothing. Two taps on the same thing are two.
 */

const THINGS = "button, a, input, select, summary, label";

const thingOf = (target: EventTarget | null): Element | null => {
  const at = target instanceof Element ? (target.closest(THINGS) ?? target) : null;
  return at instanceof HTMLLabelElement ? (at.control ?? at) : at;
};

export function onlyMeantClicks(): void {
  let hit: Element | null = null;
  addEventListener(
    "click",
    (event) => {
      const thing = thingOf(event.target);
      if (event.detail <= 1) hit = thing;
      else if (thing !== hit) {
        event.preventDefault();
        event.stopPropagation();
      }
    },
    { capture: true },
  );
}
