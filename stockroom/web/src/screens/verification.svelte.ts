/**
 * A comparison with the server that a person has asked for, and how the last one ended.
 *
 * Knows: what its report says to people. Must not know: where it is shown. Its end stays until the next
 * one begins, whichever screens are opened meanwhile: nothing else that is said takes its place.
 */

import "../i18n/later.js";

import { replica } from "../data/replica.js";
import { sync } from "../data/sync.svelte.js";
import { t } from "../i18n/index.js";
import { whyNot } from "../i18n/trouble.js";

export interface Ended {
  readonly text: string;
  readonly bad: boolean;
  /** Microseconds since 1970, by the corrected clock. */
  readonly at: number;
}

class Verification {
  isRunning = $state(false);
  ended = $state.raw<Ended | null>(null);

  /** Compare, unless it is under way; how it ended, or null. */
  async run(): Promise<Ended | null> {
    if (this.isRunning) return null;
    this.isRunning = true;
    this.ended = null;
    const [text, bad] = await outcome();
    const at = (Date.now() + (sync.status?.clockOffsetMs ?? 0)) * 1000;
    this.ended = { text, bad, at };
    this.isRunning = false;
    return this.ended;
  }
}

export const verification = new Verification();

async function outcome(): Promise<readonly [string, boolean]> {
  try {
    const { ok, repaired } = await replica().verify();
    if (!ok) return [t("device.verifyDiffers"), true];
    if (repaired > 0) return [t("device.verifyBad", { count: repaired }), false];
    return [t("device.verifyOk"), false];
  } catch (error) {
    return [whyNot(error), true];
  }
}
