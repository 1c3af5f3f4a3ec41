/**
 * Which keys there are, and what each of them is filled with, as types: made from the words themselves.
 *
 * Knows: how words are nested, counted and filled. Must not know: any of them. A key that is misspelt, a
 * filling that is missing and a count that is not given do not compile.
 */

import type first from "./en.js";
import type later from "./enLater.js";

type Words = typeof first & typeof later;

type Join<Before extends string, Name extends string> = Before extends ""
  ? Name
  : `${Before}.${Name}`;

/** `a.b.c` for every text in a tree of words. */
type Leaves<Tree, Before extends string = ""> = {
  [Name in keyof Tree & string]: Tree[Name] extends string
    ? Join<Before, Name>
    : Leaves<Tree[Name], Join<Before, Name>>;
}[keyof Tree & string];

type Leaf = Leaves<Words>;

/** Keys whose words depend on `count`. */
export type Counted = Leaf extends infer One
  ? One extends `${infer Base}_other`
    ? Base
    : never
  : never;

/** Every key that can be said. */
export type Key = Exclude<Leaf, `${Counted}_${"one" | "other"}`> | Counted;

/** Group of keys: what they begin with. */
export type Group = Key extends infer One
  ? One extends `${infer Whole}`
    ? Above<Whole>
    : never
  : never;

/** `a` and `a.b` for `a.b.c`. */
type Above<
  Path extends string,
  Before extends string = "",
> = Path extends `${infer First}.${infer Rest}`
  ? Join<Before, First> | Above<Rest, Join<Before, First>>
  : never;

/** The last part of the keys below `Before`: what a dynamic part of a key may be. */
export type Under<Before extends string> = Key extends infer One
  ? One extends `${Before}.${infer Last}`
    ? Last
    : never
  : never;

/** The text that stands in the tree at a path. */
type At<Tree, Path extends string> = Path extends keyof Tree
  ? Tree[Path]
  : Path extends `${infer First}.${infer Rest}`
    ? First extends keyof Tree
      ? At<Tree[First], Rest>
      : never
    : never;

/** The names in `{{name}}` and `{{name, format}}`. */
type Names<Text> = Text extends `${string}{{${infer Filling}}}${infer Rest}`
  ? (Filling extends `${infer Name}, ${string}` ? Name : Filling) | Names<Rest>
  : never;

type Text<K extends Key> = K extends Counted ? At<Words, `${K}_other`> : At<Words, K>;

/** Fillings that have to be given with a key, or with any of several. */
export type Fillings<K extends Key> = {
  readonly [Name in Names<Text<K>> | (K extends Counted ? "count" : never)]: Name extends "count"
    ? number
    : string | number;
};

/** The arguments behind a key: none where nothing is filled in. */
export type Given<K extends Key> = [keyof Fillings<K>] extends [never]
  ? []
  : [fillings: Fillings<K>];
