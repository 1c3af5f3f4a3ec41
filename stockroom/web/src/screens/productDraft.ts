/**
 * What somebody has changed in a product's form, apart from what stood there before.
 *
 * Knows: the texts of the form, and which value each change was based on. Must not know: where drafts are
 * kept, or how a product is written. A draft holds changes alone: whatever it does not name is somebody
 * else's to change, also while it waits.
 */

import { plainPrice } from "../data/money.js";
import * as products from "../data/products.js";
import { hasPrice } from "./priced.js";

type Column = keyof products.Fields;

export interface Typed {
  name: string;
  sku: string;
  price: string;
  cost: string;
  currency: string;
  unit: string;
  shelf: string;
  description: string;
  notes: string;
  archived: boolean;
  codes: string[];
  /** The pieces in what has a code, as they are typed; a code that is not in it is one of a piece. */
  packs: Record<string, string>;
}

export const BLANK: Typed = {
  name: "", sku: "", price: "", cost: "", currency: "EUR", unit: "piece", shelf: "", description: "",
  notes: "", archived: false, codes: [], packs: {},
}; // prettier-ignore

/** `was`: the stored value a change was based on; null also for a product that is new. */
export interface Draft {
  readonly fields: Readonly<Record<string, { readonly was: unknown; readonly is: unknown }>>;
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Pack sizes that were typed, by their codes; drafts of a release before have none. */
  readonly packs?: Readonly<Record<string, string>>;
  /** Times at which each part was typed last; drafts of a release before have none. */
  readonly stamps?: Stamps;
}

/** Times at which each part of the form, a column or a code, was typed last, also back to what it was: by these, two tabs agree. */
export type Stamps = Readonly<Record<string, number>>;

/** The pieces in what has a code, as they are shown. */
export const packOf = (typed: Pick<Typed, "packs">, code: string): string =>
  typed.packs[code] ?? "1";

/** What has a field of its own; that there is no price yet is an empty one. */
type Shown = Exclude<Column, "unpriced">;
const COLUMNS = Object.keys(BLANK).filter(
  (name): name is Shown => name !== "codes" && name !== "packs",
);

/** A product as the form shows it. */
export function typedOf(one: products.Product, codes: readonly products.Code[]): Typed {
  const { name, sku, currency, unit, shelf, description, notes, archived } = one;
  return {
    name, sku, currency, unit, shelf, description, notes, archived,
    price: hasPrice(one) ? plainPrice(one.price, currency) : "",
    cost: one.cost === null ? "" : plainPrice(one.cost, currency),
    codes: codes.map(({ code }) => code),
    packs: Object.fromEntries(codes.map(({ code, pack }) => [code, String(pack)])),
  }; // prettier-ignore
}

/** The columns that somebody has typed into. `start`: the form before anything was typed. */
const touched = (typed: Typed, start: Typed): readonly Shown[] =>
  COLUMNS.filter((name) => typed[name] !== start[name]);

/** Null when nothing is changed. */
export function draftOf(typed: Typed, start: Typed, base: products.Product | null): Draft | null {
  const changed = touched(typed, start);
  const added = typed.codes.filter((code) => !start.codes.includes(code));
  const removed = start.codes.filter((code) => !typed.codes.includes(code));
  const packs = typed.codes.filter((code) => packOf(typed, code) !== packOf(start, code));
  if ([changed, added, removed, packs].every(({ length }) => length === 0)) return null;
  const kept = COLUMNS.filter(
    (name) => changed.includes(name) || products.restsOn(changed).includes(name),
  );
  const fields = Object.fromEntries(
    kept.map((name) => [name, { was: base?.[name] ?? null, is: typed[name] }]),
  );
  const typedPacks = Object.fromEntries(packs.map((code) => [code, packOf(typed, code)]));
  return { fields, added, removed, ...(packs.length > 0 ? { packs: typedPacks } : {}) };
}

/** A draft that was kept, unless it is none: earlier versions kept the whole form. */
export function readable(kept: unknown): Draft | null {
  const {
    fields,
    added,
    removed,
    packs = {},
  } = (kept ?? {}) as Partial<Record<keyof Draft, unknown>>;
  const entries =
    typeof fields === "object" && fields !== null
      ? Object.entries(fields as Draft["fields"])
      : null;
  const whole =
    Array.isArray(added) &&
    Array.isArray(removed) &&
    typeof packs === "object" &&
    entries?.every(([name, one]) => typeof one.is === typeof BLANK[name as Shown]) === true;
  return whole ? (kept as Draft) : null;
}

/** The product that the form is based on: what stands there now, and under each change what stood there then. */
export function baseOf(draft: Draft, now: products.Product): products.Product {
  const was = Object.entries(draft.fields).map(([name, one]) => [name, one.was]);
  return { ...now, ...(Object.fromEntries(was) as Partial<products.Product>) };
}

/** The form with the changes laid over it. */
export function lay(draft: Draft, start: Typed): Typed {
  const is = Object.entries(draft.fields).map(([name, one]) => [name, one.is]);
  const codes = start.codes.filter((code) => !draft.removed.includes(code));
  return {
    ...start,
    ...(Object.fromEntries(is) as Partial<Typed>),
    codes: [...codes, ...draft.added.filter((code) => !codes.includes(code))],
    packs: { ...start.packs, ...draft.packs },
  };
}

const CODE = "code ";

const partsOf = (...forms: readonly Typed[]): readonly string[] => [
  ...COLUMNS,
  ...new Set(forms.flatMap(({ codes }) => codes).map((code) => CODE + code)),
];

/** A part as it is in the form; of a code its pieces, null where it is not there. */
function partOf(typed: Typed, part: string): string | boolean | null {
  if (!part.startsWith(CODE)) return typed[part as Shown];
  const code = part.slice(CODE.length);
  return typed.codes.includes(code) ? packOf(typed, code) : null;
}

/** The stamps after somebody has typed: of each part that is another one now. `tab`: a fraction, of this tab alone. */
export function stamped(stamps: Stamps, before: Typed, now: Typed, tab: number): Stamps {
  const typed = partsOf(before, now).filter((part) => partOf(before, part) !== partOf(now, part));
  const at = Math.floor(Math.max(Date.now(), 1 + Math.max(0, ...Object.values(stamps)))) + tab;
  return { ...stamps, ...Object.fromEntries(typed.map((part) => [part, at])) };
}

/** The stamps of a draft; what a release before has kept was typed at any time. */
export const stampsOf = (draft: Draft | null, start: Typed): Stamps =>
  draft === null ? {} : (draft.stamps ?? stamped({}, start, lay(draft, start), 0));

/** Return whether some part of these stamps is later than in the others. */
export const isLater = (stamps: Stamps, others: Stamps): boolean =>
  Object.entries(stamps).some(([part, at]) => at > (others[part] ?? 0));

/**
 * The form after another tab has typed: each part as it was typed last. Two tabs may type in the same moment, and
 * neither knows then what the other has kept; whoever is told first, both come to the same. `ties`: what is as late
 * there as here is taken, too.
 */
export function met(
  mine: Typed,
  stamps: Stamps,
  theirs: Typed,
  theirStamps: Stamps,
  { ties = false } = {},
): Typed {
  const found = { ...mine, codes: [...mine.codes], packs: { ...mine.packs } };
  for (const [part, at] of Object.entries(theirStamps)) {
    const own = stamps[part] ?? 0;
    if (at < own || (at === own && !ties)) continue;
    const value = partOf(theirs, part);
    if (!part.startsWith(CODE)) Object.assign(found, { [part]: value });
    else {
      const code = part.slice(CODE.length);
      if (value === null) found.codes = found.codes.filter((one) => one !== code);
      else if (!found.codes.includes(code)) found.codes.push(code);
      if (value !== null) found.packs[code] = String(value);
    }
  }
  return found;
}

/** The stamps of what two tabs have typed. */
export function laterOf(stamps: Stamps, others: Stamps): Stamps {
  const all = Object.keys({ ...stamps, ...others });
  return Object.fromEntries(
    all.map((part) => [part, Math.max(stamps[part] ?? 0, others[part] ?? 0)]),
  );
}

/** Return what stands there now under what was typed: what nobody touched here is shown as it is now. */
export function layTouched(typed: Typed, start: Typed, now: products.Product): Typed {
  const mine = touched(typed, start).map((name) => [name, typed[name]]);
  const { codes, packs } = typed;
  return { ...typedOf(now, []), codes, packs, ...(Object.fromEntries(mine) as Partial<Typed>) };
}

/** The values to write: a field that nobody touched keeps its own, to the letter. */
export function valuesOf(
  asked: products.Fields,
  typed: Typed,
  start: Typed,
  base: products.Product,
): products.Fields {
  const changed = touched(typed, start);
  // An amount is another value in a currency with other digits.
  const counts = (name: Shown): boolean =>
    changed.includes(name) ||
    (changed.includes("currency") && (name === "price" || name === "cost"));
  const own = COLUMNS.filter((name) => !counts(name)).map((name) => [name, base[name]]);
  const unpriced = counts("price") ? asked.unpriced : base.unpriced;
  return { ...asked, unpriced, ...(Object.fromEntries(own) as Partial<products.Fields>) };
}
