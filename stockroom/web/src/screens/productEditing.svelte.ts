/**
 * The form of a product: what is typed, what it is based on, and what becomes of it.
 *
 * Knows: drafts, other tabs' too, and the rules of a save. Must not know: how the fields are laid out. One
 * product has one form, however many tabs show it: what is typed in one of them shows in the others, and
 * saving in one settles it for all.
 */

import { UsageError } from "@holdfast/browser";

import { canonical, doubt } from "../data/codes.js";
import { Live } from "../data/live.svelte.js";
import { parsePack, pieceOf, readPack, type WithPack } from "../data/packs.js";
import * as products from "../data/products.js";
import { PACK_MAX } from "../data/schema.generated.js";
import { tidy } from "../data/skus.js";
import { t } from "../i18n/index.js";
import "../i18n/later.js";
import { whyNot } from "../i18n/trouble.js";
import * as kept from "../shell/draft.js";
import { typedPrice } from "./priced.js";
import * as drafts from "./productDraft.js";

/** Values a new product comes with, from a scan or a search; one that is stored comes with nothing. */
export interface Brought {
  readonly barcode: string | null;
  readonly name: string | null;
}

type Said = Readonly<Record<string, string>>;

/** New products that begin with something are different ones; each has its own form. */
function nameOf(id: string, { barcode, name }: Brought): string {
  if (id !== "") return `product.${id}`;
  if (barcode !== null) return `product.new.code.${barcode}`;
  return name === null ? "product.new" : `product.new.name.${name}`;
}

export class ProductEditing {
  readonly id: string;
  readonly draftName: string;
  typed = $state<drafts.Typed>({ ...drafts.BLANK });
  newCode = $state("");
  loaded = $state(false);
  busy = $state(false);
  /** That a draft was found, and that the form was settled in another tab. */
  restored = $state(false);
  settled = $state(false);
  codeProblem = $state("");
  problem = $state("");
  #tried = $state(false);
  /** The code that was asked about last. */
  #doubted = "";
  /** What the changes are based on; null for a product that is new. */
  #base = $state.raw<products.Product | null>(null);
  /** The form before anything was typed. */
  #start = $state.raw<drafts.Typed>(drafts.BLANK);
  /** By field: that somebody else has changed it. */
  #moved = $state.raw<Said>({});
  /** The form that the stamps are of: as it came, or as it was when it was last kept. */
  #known = drafts.BLANK;
  #stamps: drafts.Stamps = {};
  readonly #tab = Math.random();
  readonly #brought: Brought;
  readonly #holder: Live<products.Product | null, products.Product>;

  /** Made while a component is set up, for its life. An empty `id`: a new product. */
  constructor(id: string, brought: Brought) {
    this.id = id;
    this.#brought = brought;
    this.draftName = nameOf(id, brought);
    this.#holder = new Live(
      () => (this.#sku === "" ? null : products.holdersOfSku(this.#sku, id)),
      (rows) => products.holderAmong(rows, this.#sku),
    );
    $effect(() => {
      const form = $state.snapshot(this.typed);
      const isKnown = JSON.stringify(form) === JSON.stringify(this.#known);
      if (!this.loaded || this.busy || isKnown) return;
      this.settled = false;
      this.#stamps = drafts.stamped(this.#stamps, this.#known, form, this.#tab);
      this.#known = form;
      this.#keep();
    });
    $effect(() => kept.onDraftElsewhere(this.draftName, (change) => void this.#follow(change)));
  }

  /** False: there is no such product any more. */
  async load(): Promise<boolean> {
    const stored = this.id === "" ? null : await products.withCodes(this.id);
    if (stored === null && this.id !== "") return false;
    // Read when all else is there: what another tab types from now on, this one follows.
    const draft = drafts.readable(kept.readDraft(this.draftName));
    if (draft === null) this.giveUp(); // one that cannot be read is none
    if (stored !== null) {
      this.#base = draft === null ? stored.product : drafts.baseOf(draft, stored.product);
      this.#start = drafts.typedOf(this.#base, stored.codes);
    }
    this.#show(draft);
    this.#stamps = drafts.stampsOf(draft, this.#start);
    this.restored = draft !== null;
    this.loaded = true;
    return true;
  }

  #show(draft: drafts.Draft | null): void {
    this.typed = draft === null ? this.#untouched() : drafts.lay(draft, this.#start);
    this.#known = $state.snapshot(this.typed);
  }

  #keep(): void {
    const draft = drafts.draftOf(this.typed, this.#start, this.#base);
    if (draft === null) kept.dropDraft(this.draftName);
    else kept.keepDraft(this.draftName, { ...draft, stamps: this.#stamps });
  }

  #untouched(): drafts.Typed {
    const { name, barcode } = this.#brought;
    const codes = barcode === null ? [...this.#start.codes] : [canonical(barcode)];
    return { ...this.#start, ...(name === null ? {} : { name }), codes };
  }

  /** Another tab has typed, or settled it: this one shows the same, and what was typed here meanwhile. */
  async #follow({ before, now }: kept.Kept): Promise<void> {
    if (!this.loaded || this.busy) return;
    const theirs = drafts.readable(kept.parsedDraft(now));
    // Of what was settled there, this is what it came to.
    const spoken = theirs ?? drafts.readable(kept.parsedDraft(before));
    this.#moved = {};
    this.problem = "";
    if (this.#base !== null && theirs !== null) {
      this.#base = drafts.baseOf(theirs, this.#base);
      this.#start = this.#startOf(this.#base);
    }
    const form = theirs === null ? this.#start : drafts.lay(theirs, this.#start);
    const stamps = drafts.stampsOf(spoken, this.#start);
    const mine = $state.snapshot(this.typed);
    this.typed = drafts.met(mine, this.#stamps, form, stamps, { ties: theirs === null });
    // What was typed here is kept again where the other has not had it: also of a form that was settled there.
    const keeps = drafts.isLater(this.#stamps, stamps);
    this.#stamps = drafts.laterOf(this.#stamps, stamps);
    this.#known = $state.snapshot(this.typed);
    if (keeps) this.#keep();
    this.settled = now === null;
    if (now === null) await this.load();
  }

  /** What a product says, with the codes that this form was begun with. */
  #startOf(base: products.Product): drafts.Typed {
    const { codes, packs } = this.#start;
    return { ...drafts.typedOf(base, []), codes, packs };
  }

  async startOver(): Promise<void> {
    this.giveUp();
    this.#tried = false;
    this.#moved = {};
    this.problem = "";
    await this.load();
  }

  giveUp(): void {
    kept.dropDraft(this.draftName);
  }

  /** The other product that has the SKU which is typed. */
  get holder(): products.Product | null {
    return this.#sku === "" ? null : (this.#holder.value ?? null);
  }

  get #sku(): string {
    return tidy(this.typed.sku);
  }

  get #currency(): string {
    return this.typed.currency.trim().toUpperCase();
  }

  /** What nobody has typed over is what it was: it is not read anew. */
  #amount(name: "price" | "cost"): ReturnType<typeof typedPrice> {
    const isOwn =
      this.typed[name] === this.#start[name] && this.typed.currency === this.#start.currency;
    if (isOwn && this.#base !== null)
      return { minor: this.typed[name] === "" ? null : this.#base[name], problem: "" };
    return typedPrice(this.typed[name], this.#currency);
  }

  readonly #problems = $derived.by((): Said => {
    const { name } = this.typed;
    const taken = this.holder === null ? "" : t("sku.there", { sku: this.holder.sku });
    return {
      name: name.trim() === "" ? t("form.needName") : "",
      sku: this.#sku === "" ? t("form.needSku") : taken,
      price: this.#amount("price").problem,
      cost: this.#amount("cost").problem,
      currency: /^[A-Z]{3}$/.test(this.#currency) ? "" : t("form.badCurrency"),
    };
  });

  /** Return what is said beside a field. What is missing is said once a save was tried, what is wrong at once. */
  says(name: keyof drafts.Typed): string {
    const isMissing = this.typed[name] === "";
    const problem = this.#tried || !isMissing ? (this.#problems[name] ?? "") : "";
    return problem || (this.#moved[name] ?? "");
  }

  /** What may be a mistake is asked about once: the same again is meant so. */
  async addCode(typed: string): Promise<void> {
    const { code: given, pack } = readPack(typed);
    const code = canonical(given);
    if (code === "" || this.typed.codes.includes(code)) {
      this.newCode = "";
      if (code !== "" && pack !== null) this.typed.packs[code] = String(pack);
      return;
    }
    const found = doubt(given);
    if (found !== null && this.#doubted !== code) {
      this.#doubted = code;
      this.newCode = typed.trim();
      this.codeProblem = t(found === "shortened" ? "form.codeShortened" : "form.codeDoubtful", {
        code,
      });
      return;
    }
    this.#doubted = "";
    const taken = await products.holderOfCode(code, this.id);
    this.codeProblem = taken === null ? "" : t("form.codeTaken", { name: taken });
    if (taken !== null) return;
    this.typed.codes.push(code);
    this.typed.packs[code] = String(pack ?? 1);
    this.newCode = "";
  }

  /** Return what is wrong with the pieces of a case. */
  saysPack(code: string): string {
    return parsePack(drafts.packOf(this.typed, code)) === null
      ? t("pack.wrong", { most: PACK_MAX })
      : "";
  }

  /** Whether a code has the number of a case, and nobody has said how many are in it. */
  asksPack(code: string): boolean {
    return drafts.packOf(this.typed, code) === "1" && pieceOf(code) !== "";
  }

  /** Whether a code was added in this form, and is nobody else's work. */
  isNewCode(code: string): boolean {
    return !this.#start.codes.includes(code);
  }

  removeCode(code: string): void {
    this.typed.codes = this.typed.codes.filter((one) => one !== code);
  }

  /** The id of the saved product; null where something is to be looked at first. */
  async save(): Promise<string | null> {
    this.#tried = true;
    if (this.newCode.trim() !== "") await this.addCode(this.newCode);
    const isWrong = Object.values(this.#problems).some((one) => one !== "");
    const isNoPack = this.typed.codes.some((code) => this.saysPack(code) !== "");
    if (this.codeProblem !== "" || isWrong || isNoPack) return null;
    this.busy = true;
    this.problem = "";
    this.#moved = {};
    try {
      const made = await this.#write();
      this.giveUp();
      return made;
    } catch (error) {
      this.busy = false;
      await this.#explain(error);
      return null;
    }
  }

  async #write(): Promise<string> {
    const { typed } = this;
    const coded = (code: string): WithPack => ({
      code,
      pack: parsePack(drafts.packOf(typed, code)),
    });
    const { minor: price } = this.#amount("price");
    const asked: products.Fields = {
      name: typed.name.trim(), sku: this.#sku, description: typed.description.trim(), shelf: typed.shelf.trim(),
      notes: typed.notes.trim(), price: price ?? 0, unpriced: price === null, cost: this.#amount("cost").minor, currency: this.#currency,
      unit: typed.unit.trim() || "piece", archived: typed.archived,
    }; // prettier-ignore
    if (this.#base === null) return await products.add(asked, typed.codes.map(coded));
    const { codes } = this.#start;
    const isOther = (code: string): boolean =>
      !codes.includes(code) || drafts.packOf(typed, code) !== drafts.packOf(this.#start, code);
    await products.edit(this.#base, drafts.valuesOf(asked, typed, this.#start, this.#base), {
      added: typed.codes.filter(isOther).map(coded),
      removed: codes.filter((code) => !typed.codes.includes(code)),
    });
    return this.id;
  }

  async #explain(error: unknown): Promise<void> {
    if (error instanceof products.EditedMeanwhile) this.#askAgain(error);
    else if (error instanceof UsageError && error.code === "barcode_exists") {
      const holder = await products.holderOfCode(error.message, this.id);
      this.codeProblem = t("form.codeTaken", { name: holder ?? "" });
    } else this.problem = whyNot(error);
  }

  /** The next save is a decision: it is based on what stands there now, and that has been told. */
  #askAgain({ now, columns }: products.EditedMeanwhile): void {
    const theirs = this.#startOf(now);
    const words = (name: Exclude<keyof drafts.Typed, "codes">): string => {
      const value = String(theirs[name]);
      const isTouched = this.typed[name] !== this.#start[name];
      if (value === "") return t(isTouched ? "form.movedToNothing" : "form.movedUnderToNothing");
      return t(isTouched ? "form.movedTo" : "form.movedUnder", { value });
    };
    const shown = columns.map((name) => (name === "unpriced" ? "price" : name));
    this.#moved = Object.fromEntries(shown.map((name) => [name, words(name)]));
    this.problem = t("form.meanwhile");
    this.typed = drafts.layTouched(this.typed, this.#start, now);
    this.#base = now;
    this.#start = theirs;
  }
}
