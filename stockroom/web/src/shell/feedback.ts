/**
 * Sound and pulse of a scan, for eyes that are on the shelf; each can be switched off.
 *
 * Knows: tones and pulses. Must not know: what was scanned. The rhythm differs as well as the pitch.
 */

/** Outcome of a scan, as a hand and an ear are told. */
export type Outcome = "good" | "unexpected" | "bad";

/** Choices of this device. */
export interface Feedback {
  readonly sound: boolean;
  readonly buzz: boolean;
}

interface Signal {
  /** Pitch, length and beginning of each tone. */
  readonly tones: readonly (readonly [hertz: number, lengthMs: number, atMs: number])[];
  readonly pulses: readonly number[];
}

const SIGNALS: Readonly<Record<Outcome, Signal>> = {
  good: { tones: [[1800, 60, 0]], pulses: [30] },
  unexpected: { tones: [[1800, 60, 0], [1800, 60, 130]], pulses: [30, 70, 30] },
  bad: { tones: [[300, 250, 0]], pulses: [200] },
}; // prettier-ignore
const MEMORY = "stockroom.feedback";
const LOUDNESS = 0.2;
/** A tone that ends at once would click. */
const FADE_S = 0.008;

let chosen = remembered();
let context: AudioContext | null = null;

function remembered(): Feedback {
  try {
    const found = JSON.parse(localStorage.getItem(MEMORY) ?? "null") as Partial<Feedback> | null;
    return { sound: found?.sound !== false, buzz: found?.buzz !== false };
  } catch {
    return { sound: true, buzz: true };
  }
}

export const feedback = (): Feedback => chosen;

export function chooseFeedback(changed: Partial<Feedback>): void {
  chosen = { ...chosen, ...changed };
  localStorage.setItem(MEMORY, JSON.stringify(chosen));
}

/** Sound and feel like it; a device that can do neither does neither. */
export function signal(outcome: Outcome): void {
  const { tones, pulses } = SIGNALS[outcome];
  if (chosen.buzz) navigator.vibrate?.([...pulses]);
  if (!chosen.sound || typeof AudioContext === "undefined") return;
  context ??= new AudioContext();
  const speaker = context;
  // Silent until somebody has touched the page: the browser's own rule.
  void speaker.resume().catch(() => undefined);
  for (const [hertz, lengthMs, atMs] of tones) {
    const [tone, volume] = [speaker.createOscillator(), speaker.createGain()];
    const from = speaker.currentTime + atMs / 1000;
    const to = from + lengthMs / 1000;
    tone.frequency.value = hertz;
    volume.gain.setValueAtTime(0, from);
    volume.gain.linearRampToValueAtTime(LOUDNESS, from + FADE_S);
    volume.gain.setValueAtTime(LOUDNESS, to - FADE_S);
    volume.gain.linearRampToValueAtTime(0, to);
    tone.connect(volume).connect(speaker.destination);
    tone.start(from);
    tone.stop(to);
  }
}
