/** How much room there is: a phone, a page beside a rail (from 700), a wide page with a sidebar (from 1100). */

const RAIL = matchMedia("(min-width: 700px)");
const WIDE = matchMedia("(min-width: 1100px)");

class Layout {
  rail = $state(RAIL.matches);
  wide = $state(WIDE.matches);

  constructor() {
    RAIL.addEventListener("change", () => (this.rail = RAIL.matches));
    WIDE.addEventListener("change", () => (this.wide = WIDE.matches));
  }
}

export const layout = new Layout();
