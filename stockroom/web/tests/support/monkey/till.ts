/**
 * A device of Python's beside the browsers: it works from a shell, and syncs when it is told to.
 *
 * Knows: `stockroom device`. Must not know: browsers.
 */

import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";

import { PYTHON, ROOT, type World } from "../world.js";
import { type Scene, SKUS } from "./scene.js";

/** What the till may answer no to: goods it does not know, a SKU that is given away. */
const NO = /no product|there is a product|no movement|nothing to/i;

export class Till {
  readonly #world: World;
  readonly name = "till";
  readonly db = "till.db";

  constructor(world: World) {
    this.#world = world;
  }

  async enrol(): Promise<void> {
    await this.#world.enrolDevice(this.db, "mira", "1");
  }

  async work(scene: Scene): Promise<string> {
    const { dice, book } = scene;
    const sku = dice.one(SKUS);
    const kind = dice.weighted([
      [3, "receive"],
      [3, "adjust"],
      [3, "edit"],
      [1, "undo"],
      [4, "sync"],
    ] as const);
    const does = async (...words: string[]): Promise<Record<string, unknown> | null> => {
      try {
        return await this.#world.device(this.db, ...words);
      } catch (error) {
        if (NO.test(String((error as { stderr?: unknown }).stderr))) return null;
        throw error;
      }
    };
    if (kind === "sync") {
      await this.sync();
      return "the till syncs";
    }
    if (kind === "receive" || kind === "adjust") {
      const tag = book.tag(kind === "receive" ? "R" : "A");
      const quantity = kind === "receive" ? dice.whole(1, 40) : -dice.whole(1, 9);
      const amount = kind === "receive" ? [String(quantity)] : ["--by", String(quantity)];
      const about = kind === "receive" ? ["--document", tag] : ["--reason", "sale", "--note", tag];
      const done = await does(kind, sku, ...amount, ...about);
      if (done === null) return `the till knows no ${sku}`;
      book.note({ tag, hand: this.name, certainty: "saved", quantities: [quantity] });
      return `the till: ${kind} ${sku} ${quantity} as ${tag}`;
    }
    if (kind === "undo") return `the till: undo${(await does("undo")) === null ? ", nothing" : ""}`;
    const [label, option, value] = dice.one([
      ["price", "--price", `${dice.whole(100, 9_999)}.00`],
      ["name", "--name", `Thing ${dice.whole(100, 9_999)}`],
      ["shelf", "--shelf", `S${dice.whole(100, 9_999)}`],
      ["sku", "--new-sku", dice.one(SKUS)],
    ] as const);
    const done = (await does("product", "edit", sku, option, value)) as {
      product: { id: string };
    } | null;
    if (done === null) return `the till: no edit of ${sku}`;
    book.edited(done.product.id, label, this.name, value, "saved");
    return `the till: ${sku} has ${label} ${value}`;
  }

  async sync(): Promise<void> {
    await this.#world.device(this.db, "sync");
  }

  /** `holdfast refused`: what waits for a person here. */
  refused(): Promise<Record<string, unknown>> {
    return this.#holdfast("refused");
  }

  verify(): Promise<Record<string, unknown>> {
    return this.#holdfast("verify");
  }

  ask(questions: readonly string[]): Promise<unknown[][][]> {
    return this.#world.tables(path.join(this.#world.folder, this.db), questions);
  }

  async #holdfast(verb: string): Promise<Record<string, unknown>> {
    const file = path.join(this.#world.folder, this.db);
    const words = ["-m", "holdfast.cli", verb, file, "--json"];
    const { stdout } = await promisify(execFile)(PYTHON, words, { cwd: ROOT });
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") as Record<string, unknown>;
  }
}
