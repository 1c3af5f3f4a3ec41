// Made by `make protocol` from protocol/schema/program.json; do not edit.

export const VERSION = 3;

/** A constraint of the small declared set, on one column; NULL always passes. */
export interface Check {
  readonly column: string;
  readonly kind: "length" | "not_empty" | "one_of" | "range";
  readonly min?: number | null;
  readonly max?: number | null;
  readonly values?: readonly string[];
}

/** One column. `default` is given as Python has it (`0`, `Decimal("1.50")`, `[]`) or in the wire form, which it is kept in; text of a `json` column is JSON. Without a default and not `nullable`, the column is required. */
export interface Column {
  readonly name: string;
  readonly type?: "boolean" | "bytes" | "date" | "decimal" | "integer" | "json" | "real" | "text" | "timestamp" | "uuid";
  readonly merge?: "client" | "counter" | "largest" | "latest" | "manual" | "server" | "smallest";
  readonly nullable?: boolean;
  readonly default?: unknown;
  readonly corrected?: boolean;
  readonly scale?: number;
}

/** `columns` refer to the primary key of `table`; deferred, no action. */
export interface ForeignKey {
  readonly columns: readonly string[];
  readonly table: string;
}

/** How one table of a snapshot file is looked at and imported. */
export interface LoadProgram {
  readonly look: string;
  readonly hashed: string;
  readonly is_held: string;
  readonly steps: string;
  readonly copy: readonly string[];
  readonly copy_rest: readonly string[];
  readonly meet_known: string;
  readonly meet_shown: string;
  readonly meet_touched: string;
  readonly meet_unique: readonly string[];
  readonly keys: string;
  readonly departed: string;
  readonly sums: string;
  readonly sums_rest: string;
  readonly written: string;
}

/** A foreign key: `columns` refer to the key of `table`. */
export interface Reference {
  readonly columns: readonly string[];
  readonly table: string;
  readonly children: string;
}

/** Everything a host needs to run a replica of this schema. */
export interface ReplicaProgram {
  readonly format: number;
  readonly fingerprint: string;
  readonly schema: Schema;
  readonly engine_tables: readonly Table[];
  readonly create: readonly string[];
  readonly triggers: Readonly<Record<string, string>>;
  readonly views: Readonly<Record<string, string>>;
  readonly local: readonly string[];
  readonly mark: string;
  readonly marks: string;
  readonly log_tables: string;
  readonly log_tables_after: string;
  readonly log_last: string;
  readonly empty_log: string;
  readonly open_groups: string;
  readonly load_begin: readonly string[];
  readonly load_end: readonly string[];
  readonly load_about: string;
  readonly tables: Readonly<Record<string, TableProgram>>;
}

/** All synced tables of an app. `local` is SQL for tables and triggers that are not synced. */
export interface Schema {
  readonly name: string;
  readonly tables: readonly Table[];
  readonly generation?: number;
  readonly local?: readonly string[];
}

/** One synced table. Keys are made by the client and never change. */
export interface Table {
  readonly name: string;
  readonly key: readonly string[];
  readonly columns: readonly Column[];
  readonly scopes: readonly string[];
  readonly on_delete?: "delete" | "keep" | "manual";
  readonly unique?: readonly (readonly string[])[];
  readonly foreign_keys?: readonly ForeignKey[];
  readonly checks?: readonly Check[];
  readonly existence_public?: boolean;
  readonly groups?: readonly (readonly string[])[];
}

/** The statements of one table. Rows are all columns in declared order; keys in key order. */
export interface TableProgram {
  readonly name: string;
  readonly select_row: string;
  readonly select_rows: string;
  readonly insert_row: string;
  readonly upsert_row: string;
  readonly delete_row: string;
  readonly all_rows: string;
  readonly colliding: readonly string[];
  readonly fold: string;
  readonly log_weight: string;
  readonly odd_rows: string;
  readonly log_keys: string;
  readonly odd_texts: string;
  readonly mend_texts: string;
  readonly groups: string;
  readonly renumber: string;
  readonly move: string;
  readonly chained: string;
  readonly earlier: string;
  readonly makers: string;
  readonly made: readonly string[];
  readonly released: readonly string[];
  readonly freed: readonly string[];
  readonly set_bases: string;
  readonly changes: string;
  readonly counts: string;
  readonly key_changes: string;
  readonly touched_keys: string;
  readonly unsettled_keys: string;
  readonly deleted_keys: string;
  readonly aside_keys: string;
  readonly unplain_keys: string;
  readonly references: readonly Reference[];
  readonly count_changes: string;
  readonly row_state: string;
  readonly delete_group: string;
  readonly delete_acked: string;
  readonly select_shadow: string;
  readonly put_shadow: string;
  readonly delete_shadow: string;
  readonly shadow_keys: string;
  readonly load: LoadProgram;
}
