/** The switch "stay offline": remembered, and told to the replica whenever it opens. */

import { replica } from "../data/replica.js";

const MEMORY = "stockroom.stayOffline";

export const staysOffline = (): boolean => localStorage.getItem(MEMORY) === "yes";

export async function stayOffline(yes: boolean): Promise<void> {
  if (yes) localStorage.setItem(MEMORY, "yes");
  else localStorage.removeItem(MEMORY);
  await (yes ? replica().pause() : replica().resume());
}
