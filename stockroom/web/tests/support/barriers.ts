/**
 * What keeps people from using a screen: whatever axe knows of, controls too small for a finger, and
 * what is wider than the screen.
 *
 * Knows: a page as it stands. Must not know: which screen it is. A state is reached once and looked at
 * in each size and each theme; whoever adds a look adds it here, and every state has it.
 */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { type Page, until } from "./browser.js";

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const THEMES = ["light", "dark"] as const;
const TOUCH_PX_MIN = 44;
/** Letters that people may have as large as this. */
const LETTERS_MAX = "200%";
/** Of a list of like things the first ones tell enough. */
const TOLD_MAX = 4;

export interface Finding {
  readonly id: string;
  readonly nodes: readonly string[];
}

/** Looks at one page, and keeps what it finds by state and look. */
export class Barriers {
  readonly #page: Page;
  readonly found: Record<string, readonly Finding[]> = {};
  /** Each state in each look; a state that nobody reached is not one without barriers. */
  readonly looks: string[] = [];

  constructor(page: Page) {
    this.#page = page;
  }

  /** The state that the page is in now. */
  async look(state: string): Promise<void> {
    for (const [size, viewport] of Object.entries(SIZES)) {
      await this.#page.setViewportSize(viewport);
      for (const colorScheme of THEMES) {
        await this.#page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await this.#settled(colorScheme);
        const look = `${state}, ${size}, ${colorScheme}`;
        const findings = await this.#inspect(size === "phone", colorScheme !== "light");
        this.looks.push(look);
        if (findings.length > 0)
          this.found[look] = findings.map(({ id, nodes }) => ({
            id,
            nodes: nodes.slice(0, TOLD_MAX),
          }));
      }
    }
    await this.#page.setViewportSize(SIZES.phone);
  }

  /** The screen has come, its theme is on, and the list beside a product is there where it has room. */
  #settled(theme: string): Promise<void> {
    return until("the page has settled", () =>
      this.#page.evaluate((wanted) => {
        const list = document.querySelector(".stock .view");
        // Screens are loaded when they are asked for: until then there is nothing to look at.
        const hasCome = ["main", "h1"].every((one) => document.querySelector(one) !== null);
        const isThere = hasCome && (list === null || list.childElementCount > 0);
        return isThere && document.documentElement.dataset["theme"] === wanted;
      }, theme),
    );
  }

  /** Themes differ in colours alone: whatever else there is has been found in the first one. */
  async #inspect(isTouched: boolean, isOnlyColours: boolean): Promise<Finding[]> {
    // The page's own policy lets no foreign script in; the debugger may.
    if (!(await this.#page.evaluate(() => "axe" in globalThis)))
      await this.#page.evaluate(await readFile(AXE, "utf8"));
    const findings = await this.#page.evaluate(known, isOnlyColours ? OF_COLOURS : null);
    if (isOnlyColours) return findings;
    const wide = await this.#page.evaluate(tooWide, "");
    const small = isTouched ? await this.#page.evaluate(tooSmall, TOUCH_PX_MIN) : [];
    const large = isTouched ? await this.#page.evaluate(tooWide, LETTERS_MAX) : [];
    if (wide.length > 0) findings.push({ id: "wider than the screen", nodes: wide });
    if (large.length > 0) findings.push({ id: "wider with large letters", nodes: large });
    if (small.length > 0) findings.push({ id: "too small for a finger", nodes: small });
    return findings;
  }
}

/** What axe asks about colours at the level that is promised. */
const OF_COLOURS = ["color-contrast", "link-in-text-block"];
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

interface Axe {
  run(options: object): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
}

async function known(only: readonly string[] | null): Promise<Finding[]> {
  const { axe } = globalThis as unknown as { axe: Axe };
  const { violations } = await axe.run({
    resultTypes: ["violations"],
    ...(only === null ? {} : { runOnly: only }),
  });
  return violations.map(({ id, nodes }) => ({
    id,
    nodes: nodes.map(({ html }) => html.slice(0, 160)),
  }));
}

function tooWide(letters: string): string[] {
  const root = document.documentElement;
  root.style.fontSize = letters;
  const found = [root, ...document.querySelectorAll("main, .detail, .view")]
    .filter((one) => one.scrollWidth > one.clientWidth)
    .map((one) => `${one.className || one.tagName}: ${one.scrollWidth} > ${one.clientWidth}`);
  root.style.fontSize = "";
  return found;
}

/** A control in a label is as large as its label. */
function tooSmall(least: number): string[] {
  const small: string[] = [];
  for (const one of document.querySelectorAll("a, button, input, select, textarea")) {
    const { width, height } = (one.closest("label") ?? one).getBoundingClientRect();
    const isSeen = one.checkVisibility() && !one.classList.contains("skip");
    if (isSeen && (width < least || height < least))
      small.push(`${Math.round(width)} x ${Math.round(height)}: ${one.outerHTML.slice(0, 120)}`);
  }
  return small;
}
