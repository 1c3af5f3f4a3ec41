/** Parts of Today that its first sight does not need, fetched as one. */

export { default as DoneLately } from "./DoneLately.svelte";
export { default as Figures } from "./Figures.svelte";
export { default as RunningOut } from "./RunningOut.svelte";
export { default as ToDo } from "./ToDo.svelte";
