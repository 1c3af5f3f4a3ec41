/** Light or dark: as the system, or as a person chose. Knows nothing of what is shown. */

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];
const MEMORY = "stockroom.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export function theme(): Theme {
  const found = localStorage.getItem(MEMORY);
  return found === "light" || found === "dark" ? found : "system";
}

export function applyTheme(): void {
  const chosen = theme();
  const shown = chosen === "system" ? (dark.matches ? "dark" : "light") : chosen;
  document.documentElement.dataset["theme"] = shown;
}

export function chooseTheme(chosen: Theme): void {
  localStorage.setItem(MEMORY, chosen);
  applyTheme();
}

dark.addEventListener("change", applyTheme);
