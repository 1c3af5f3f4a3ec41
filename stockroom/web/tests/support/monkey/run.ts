/**
 * One monkey: three devices of two people, who work while their lines are bad, from one seed.
 *
 * Knows: how often what is done. Must not know: how it is done. The seed decides who does what and which
 * line breaks when; what arrives in between is up to the machine, so that a seed is a story, not a trace.
 */

import { Chromium } from "../../../../../browser/tests/support/chromium.js";
import { World } from "../world.js";
import { Book } from "./book.js";
import * as catalogue from "./catalogueDeeds.js";
import { Dice } from "./dice.js";
import { Hand } from "./hand.js";
import { afterStep, atRest } from "./rest.js";
import { end, type Ending, type Scene, SKUS } from "./scene.js";
import * as stock from "./stockDeeds.js";
import * as sync from "./syncDeeds.js";
import { Till } from "./till.js";
import { heal, makeTrouble } from "./trouble.js";

type Deed = (scene: Scene, hand: Hand) => Promise<string>;
type Saving = (scene: Scene, hand: Hand, ending: Ending | null) => Promise<string>;

const ENDING_SHARE = 0.12;
const TILL_SHARE = 0.15;
const DUTY_SHARE = 0.15;

/** Sometimes the tab, or the whole browser, ends right behind the click. */
const perhapsEnding =
  (does: Saving): Deed =>
  (scene, hand) => {
    const { dice } = scene;
    const ending = dice.chance(ENDING_SHARE) ? endingFor(dice, hand) : null;
    return does(scene, hand, ending);
  };

function endingFor(dice: Dice, hand: Hand): Ending {
  return dice.one<Ending>([
    "close",
    "crash",
    "reload",
    ...(hand.canBeKilled ? (["kill"] as const) : []),
  ]);
}

const DEEDS: readonly (readonly [number, Deed])[] = [
  [2, catalogue.look],
  [3, catalogue.search],
  [4, perhapsEnding(catalogue.addProduct)],
  [11, perhapsEnding(catalogue.edit)],
  [9, perhapsEnding(stock.receive)],
  [8, perhapsEnding(stock.adjust)],
  [5, perhapsEnding(stock.undo)],
  [4, stock.scan],
  [2, sync.sendNow],
  [2, sync.verifyNow],
  [2, sync.stayOffline],
  [2, sync.nearlySignOut],
  [1.5, sync.signOut],
  [9, (scene, hand) => Promise.resolve(makeTrouble(scene, hand))],
  [6, (_, hand) => heal(hand)],
  [3, secondTab],
  [3, ended],
];

/** What the app asks of a person, before anything else they may do. */
async function duty(hand: Hand): Promise<Deed> {
  const { state, conflicts, refused, held } = await hand.status();
  if (state === "needs_sign_in" && hand.isWell) return sync.signInAgain;
  if (conflicts > 0) return sync.settle;
  return refused + held > 0 ? sync.mend : catalogue.look;
}

async function secondTab({ dice }: Scene, hand: Hand): Promise<string> {
  if (hand.tabs < 2) await hand.openTab();
  else hand.turnTo(dice.whole(0, 1));
  await hand.page.bringToFront();
  return `${hand.tabs} tabs`;
}

async function ended({ dice }: Scene, hand: Hand): Promise<string> {
  const ending = endingFor(dice, hand);
  await end(hand, ending);
  return ending;
}

export class Monkey {
  readonly #seed: number;
  readonly #scene: Scene;
  readonly trace: string[] = [];

  constructor(seed: number) {
    this.#seed = seed;
    this.#scene = { dice: new Dice(seed), book: new Book() };
  }

  /** Throws at the first thing that is not as it must be, with the last steps before it. */
  async run(steps: number): Promise<void> {
    const [world, chromium] = await Promise.all([World.make({ ownWeb: true }), Chromium.start()]);
    const hands: Hand[] = [];
    try {
      const till = new Till(world);
      const seats = [Hand.seat(world, "ada", null), Hand.seat(world, "mira", chromium)];
      const [seated] = await Promise.all([Promise.all(seats), till.enrol()]);
      hands.push(...seated);
      await this.#begin(world, hands, till);
      for (let step = 1; step <= steps; step += 1) await this.#step(world, hands, till);
      await atRest(world, this.#scene, hands, till);
    } catch (error) {
      const last = this.trace.slice(-15).join("\n  ");
      const message = error instanceof Error ? error.message : String(error);
      const shown = (await Promise.all(hands.map((hand) => hand.shows()))).join("\n");
      throw new Error(`seed ${this.#seed}, ${message}\nafter\n  ${last}\n${shown}`, {
        cause: error,
      });
    } finally {
      for (const hand of hands) await hand.close();
      await chromium.close();
      await world.close();
    }
  }

  /** A few goods that all of them know. */
  async #begin(world: World, hands: readonly Hand[], till: Till): Promise<void> {
    const [ada, ...others] = hands;
    if (ada === undefined) return;
    for (const sku of SKUS.slice(0, 3))
      await ada.person.addProduct(sku, `Thing ${sku.slice(3)}`, "1.00");
    await ada.person.chip(/All saved to server/);
    await till.sync();
    for (const hand of others) await hand.person.open("MK-3");
    for (const [id] of await world.server("SELECT id FROM product WHERE sku LIKE 'MK-%'"))
      this.#scene.book.common.add(String(id));
  }

  async #step(world: World, hands: readonly Hand[], till: Till): Promise<void> {
    const { dice } = this.#scene;
    if (dice.chance(TILL_SHARE)) {
      this.trace.push(await till.work(this.#scene));
      return;
    }
    if (dice.chance(0.02)) {
      this.trace.push("the server is started again");
      await world.stopServer(dice.one(["SIGTERM", "SIGKILL"]));
      await world.startServer();
      return;
    }
    const hand = dice.one(hands);
    const deed = dice.chance(DUTY_SHARE) ? await duty(hand) : dice.weighted(DEEDS);
    this.trace.push(`${hand.name}: …`);
    const done = await deed(this.#scene, hand);
    this.trace[this.trace.length - 1] = `${hand.name}: ${done}`;
    if (process.env["STOCKROOM_MONKEY_SAYS"]) console.log(this.trace.at(-1));
    await afterStep(this.#scene, hand);
  }
}
