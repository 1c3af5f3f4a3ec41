/**
 * The merge policies, as far as a replica has to do with them: what a change says, and how it is made
 * again on news. The server alone decides.
 *
 * Knows: the functions of each policy, by name. Must not know: tables, SQL or messages.
 * `POLICIES` has a row for each policy of the schema and a function in each of its cells; what is
 * missing is a type error. Nothing else asks which policy a column has.
 */

import type { Column as ColumnJson } from "../../protocol/program.generated.js";
import type { Value, Wire } from "../values.js";
import * as counter from "./counter.js";
import * as sets from "./sets.js";

export type MergePolicy = NonNullable<ColumnJson["merge"]>;

/** Functions of one policy. A value is in its storage form, a word for it in its wire form. */
export interface Policy {
  /** The default where none is declared. */
  readonly start: Value;
  /** Whether an update says the new value, which takes the place of the old one: so it rests on what
   * wrote that one, and says what it was. Otherwise it says a difference. */
  readonly replaces: boolean;
  /** Whether a change is based on what this device's earlier unsettled change of the column was based
   * on; otherwise on the row's revision as last applied. */
  readonly inherits: boolean;
  /** What an update says that makes of one value another. */
  readonly difference: (before: Value, after: Value) => Value;
  /** A value before and one after, between which an update's difference is this. */
  readonly between: (difference: Value) => readonly [Value, Value];
  /** A value after a change, made elsewhere from a value before (null: an insert) to one after. */
  readonly replay: (current: Value, before: Value, after: Value) => Value;
  /** A value, or what an update says of it, from the wire form, as people read it. */
  readonly show: (wire: Wire) => unknown;
}

/** A policy under which one value takes the place of another. */
const REPLACING: Policy = {
  start: null,
  replaces: true,
  inherits: true,
  difference: (_before, after) => after,
  between: (after) => [null, after],
  replay: (_current, _before, after) => after,
  show: (wire) => wire,
};

export const POLICIES: Readonly<Record<MergePolicy, Policy>> = {
  latest: REPLACING,
  manual: REPLACING,
  counter: {
    start: 0n,
    replaces: false,
    inherits: true,
    difference: counter.difference,
    between: counter.between,
    replay: counter.replay,
    show: (wire) => wire,
  },
  server: REPLACING,
  client: REPLACING,
  largest: REPLACING,
  smallest: REPLACING,
  set: {
    start: "[]",
    replaces: false,
    inherits: false,
    difference: sets.difference,
    between: sets.between,
    replay: sets.replay,
    show: sets.show,
  },
};

/** The policy of a column. */
export function policyOf(column: { readonly merge: MergePolicy }): Policy {
  return POLICIES[column.merge];
}
