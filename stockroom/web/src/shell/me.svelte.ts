/** Who works on this device, and whether what is theirs lies open. */

import { called } from "../data/names.svelte.js";
import { enrolled } from "../data/replica.js";
import { sync } from "../data/sync.svelte.js";

export const myName = (): string => called(sync.status?.user || (enrolled()?.user ?? ""));

class MyMenuState {
  isOpen = $state(false);
}

export const myMenu = new MyMenuState();
