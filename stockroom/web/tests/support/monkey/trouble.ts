/**
 * What a bad line does, and how it gets well again.
 *
 * Knows: the cable and who stands before the server. Must not know: what travels.
 */

import { serversOwn, type Told } from "../stand.js";
import type { Scene } from "./scene.js";
import type { Hand } from "./hand.js";

const PORTAL: Told = { status: 200, body: "<html><title>Welcome to this network</title></html>" };
const BROKEN: Told = { status: 500, body: "Internal Server Error" };

export function makeTrouble(scene: Scene, hand: Hand): string {
  const { dice } = scene;
  const { cable, stand } = hand.person;
  const kind = dice.weighted([
    [5, "pull"],
    [3, "moments"],
    [4, "lose"],
    [3, "cut"],
    [2, "slow"],
    [2, "busy"],
    [1, "database"],
    [2, "broken"],
    [2, "portal"],
  ] as const);
  hand.isWell = false;
  if (kind === "pull") cable.pull();
  else if (kind === "moments") {
    cable.pull();
    void cable.plugFor(dice.whole(100, 12_000));
  } else if (kind === "lose" || kind === "cut")
    stand.next(kind, ...(dice.chance(0.5) ? [kind] : []));
  else if (kind === "slow") stand.slowBy(dice.whole(100, 900));
  else if (kind === "busy" || kind === "database")
    stand.answerFor((path, headers) =>
      path.startsWith("/v1/") ? serversOwn(503, kind, headers) : null,
    );
  else if (kind === "broken") stand.answerFor((path) => (path.startsWith("/v1/") ? BROKEN : null));
  else stand.answerFor((path) => (path.startsWith("/v1/") ? PORTAL : null));
  return `line: ${kind}`;
}

export async function heal(hand: Hand): Promise<string> {
  const { cable, stand } = hand.person;
  cable.pull(); // also ends what it was to let through
  stand.answerFor(null);
  stand.slowBy(0);
  stand.forgetFates();
  await hand.person.backOnline();
  hand.isWell = true;
  return "line: well";
}
