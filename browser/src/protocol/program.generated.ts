// Made by `make protocol` from protocol/schema/program.json; do not edit.

export const VERSION = 7;

/** The statements on the engine's own tables, by table. */
export interface Bookkeeping {
  readonly transactions: TransactionStatements;
  readonly conflicts: ConflictStatements;
  readonly rows: RowStatements;
  readonly members: MemberStatements;
  readonly scopes: ScopeStatements;
  readonly state: StateStatements;
  readonly identity: IdentityStatements;
  readonly kept: KeptStatements;
  readonly events: EventStatements;
  readonly gone: GoneStatements;
}

/** A constraint of the small declared set, on one column; NULL always passes. */
export interface Check {
  readonly column: string;
  readonly kind: "length" | "not_empty" | "one_of" | "range";
  readonly min?: number | null;
  readonly max?: number | null;
  readonly values?: readonly string[];
}

/** A declared check, as it stands in a table's definition. */
export interface CheckPart {
  readonly column: string;
  readonly sql: string;
}

/** One column. `default` is given as Python has it (`0`, `Decimal("1.50")`, `[]`) or in the wire form, which it is kept in; text of a `json` column is JSON. Without a default and not `nullable`, the column is required. */
export interface Column {
  readonly name: string;
  readonly type?: "boolean" | "bytes" | "date" | "decimal" | "integer" | "json" | "real" | "text" | "timestamp" | "uuid";
  readonly merge?: "client" | "counter" | "largest" | "latest" | "manual" | "server" | "set" | "smallest";
  readonly nullable?: boolean;
  readonly default?: unknown;
  readonly corrected?: boolean;
  readonly scale?: number;
  readonly fill?: string | null;
}

/** Statements that bring a column into a file which has its table without it. */
export interface ColumnMigration {
  /** Add it to the table, to the notes of the outbox, and to the shadows. The table has the checks of its other columns already as the program wants them. */
  readonly add: readonly string[];
  /** Fill it in all rows of the table; empty: rows have the default. */
  readonly fill_rows: string;
  /** The fill of one row (parameters: all columns, in declared order); empty: the default. */
  readonly fill_value: string;
}

/** A column of a table that is made anew, as expressions over what its rows are made from. */
export interface ColumnReshaping {
  /** Its default, which rows have when it was not there. */
  readonly start: string;
  /** A converted value in the column's storage class, where it loses nothing by that. */
  readonly coerced: string;
  /** The condition that a converted value is none of the column. */
  readonly misfits: string;
}

/** The engine's synced table `holdfast_conflict`. */
export interface ConflictStatements {
  /** The open conflicts, oldest first. */
  readonly open: string;
  /** One of them (id); columns as in `open`. */
  readonly open_item: string;
  /** How many are open. */
  readonly count_open: string;
  /** Close one (what was chosen, by whom, when, id). */
  readonly settle: string;
}

/** The history of the replica, `holdfast_event`. */
export interface EventStatements {
  /** Note one (time, kind, moment of the older state or NULL, text). */
  readonly add: string;
  /** Count outcomes of what the newest fork offers again (sent again, already there, gone to the inbox). */
  readonly count: string;
  /** All, oldest first. */
  readonly all: string;
}

/** `columns` refer to the primary key of `table`; deferred, no action. */
export interface ForeignKey {
  readonly columns: readonly string[];
  readonly table: string;
}

/** Work that has met a declared migration: `holdfast_gone`, and hashes of what was sent. */
export interface GoneStatements {
  /** Note what cannot be sent (time, table, key, column, value). */
  readonly put: string;
  /** Put what was noted last into the inbox (id, time, code, message, column). */
  readonly show: string;
  /** Table, key, column and value of an item of the inbox (number). */
  readonly item: string;
  /** Remove one (number). */
  readonly remove: string;
  /** Transactions that were sent and have no outcome, without their changes. */
  readonly sent: string;
  /** Numbers of those that the server has taken. */
  readonly acked: string;
  /** Note the hash of a body as it was first sent (hash, number). */
  readonly set_first: string;
  /** Say what is kept of an acknowledged one in other words (message, number). */
  readonly set_kept: string;
}

/** The part of `holdfast_state` that says who the replica is. */
export interface IdentityStatements {
  /** Be another replica from now on (its new name). The log is sealed. */
  readonly fork: string;
  /** Offer again under the name that no answer has come to yet. */
  readonly offer: string;
  /** Forget what another server has said of the replica. */
  readonly forget_server: string;
  /** Forget where the scopes stood with another server; that they differ is expected. */
  readonly forget_checkpoint: string;
  /** Forget the revisions of another server: none of its rows was seen. */
  readonly forget_revisions: string;
  /** Whether anything up to a number is offered again (number). */
  readonly offered_again: string;
  /** Up to which number what is offered again was made before the server went back, while any of it has no outcome; 0: it has not. */
  readonly made_before_restore: string;
  /** All that was offered again has its outcome. */
  readonly finish: string;
}

/** Acknowledged work that is kept, `holdfast_kept`. */
export interface KeptStatements {
  /** Keep one (number, id, time, when it was decided, generation, its message as JSON). */
  readonly put: string;
  /** Count what is kept (how many bytes more). */
  readonly add_bytes: string;
  /** Number, time of its outcome, bytes, and whether it is offered again, of the oldest ones (how many). */
  readonly first: string;
  /** Give up to a number up (number). */
  readonly remove: string;
  /** Offer all of it again. */
  readonly offer: string;
  /** Offer one no longer (number). */
  readonly settle: string;
  /** Forget one (number). */
  readonly drop: string;
  /** Number, id, generation and message of what is offered again, in order (how many). */
  readonly offered: string;
  /** Number and id of what is offered again (from, to). */
  readonly offered_ids: string;
  /** The lowest and highest number that is offered again (NULL: there is none), and how many. */
  readonly span: string;
  /** Number and message of all. */
  readonly bodies: string;
  /** Message and generation of one (number). */
  readonly body: string;
}

/** Statements that check and import one table of a snapshot file. */
export interface LoadProgram {
  /** In the file itself, of the rows behind a rowid: the last, how many, how many that are not what they should be, and their hashes in hex, end to end. */
  readonly look: string;
  /** In the file itself, of the rows from behind a rowid to another, some: rowid, hash, key and values. */
  readonly hashed: string;
  /** Whether the replica has any row of this table, shown or known. */
  readonly is_held: string;
  /** Of the rows behind a rowid: the first, the last, and how many are in one step. */
  readonly steps: string;
  /** Copy the rows from one rowid to another: rows, revisions, members (the scope is the third parameter of the last). */
  readonly copy: readonly string[];
  /** The same for those that meet nothing. */
  readonly copy_rest: readonly string[];
  /** Note the rows whose key the replica knows; the parameter is the scope. */
  readonly meet_known: string;
  /** Note the rows that the replica shows, though it knows nothing of them. */
  readonly meet_shown: string;
  /** Note the rows with these keys, a JSON array. */
  readonly meet_touched: string;
  /** For each unique key: note the rows whose values another row has. */
  readonly meet_unique: readonly string[];
  /** Note the keys that the file has. */
  readonly keys: string;
  /** Keys of members of a scope, behind a key, that the file does not have. */
  readonly departed: string;
  /** Count and hashes, in hex, of the rows from one rowid to another. */
  readonly sums: string;
  /** The same for those that become members without being written. */
  readonly sums_rest: string;
  /** Rows behind a rowid that are written like those of an answer: rowid, key, revision, row. */
  readonly written: string;
}

/** Statements on `holdfast_member`: which rows are in which scope, with their hashes. */
export interface MemberStatements {
  /** A row, if there is any member at all. */
  readonly any: string;
  /** A row, if the scope has any (scope). */
  readonly any_of_scope: string;
  /** A row, if the row is in any scope (table, key). */
  readonly any_of_row: string;
  /** All of a table (table). */
  readonly of_table: string;
  /** Key, scope and hash of some rows (JSON array of keys, table). */
  readonly of_rows: string;
  /** Scope and hash of one row (table, key). */
  readonly of_row: string;
  /** The hash of a row in a scope (scope, table, key). */
  readonly hash: string;
  /** Table and key of the rows that are in this scope and in no other (scope). */
  readonly only_of_scope: string;
  /** Table, key, hash and revision of a scope's rows from a position on (scope, table, key). */
  readonly from_position: string;
  /** The same up to another position, exclusive (scope, table, key, table, key). */
  readonly between_positions: string;
  /** Make a row a member (scope, table, key, hash). */
  readonly put: string;
  /** Give a damaged row a hash that no row has (table, key). */
  readonly forget_hash: string;
  /** Take a row out of a scope (scope, table, key). */
  readonly remove: string;
  /** Take a row out of all scopes (table, key). */
  readonly remove_row: string;
  /** Take all rows out of a scope (scope). */
  readonly remove_scope: string;
}

/** The declared steps that lead to a generation, in order. */
export interface Migration {
  readonly generation: number;
  readonly steps: readonly MigrationStep[];
}

/** The pieces of a whole file. */
export interface MigrationProgram {
  /** By format: the statements that make a file of it one of the format behind it. */
  readonly formats: Readonly<Record<string, readonly string[]>>;
  /** By column: the statement that adds it to the log. */
  readonly log: Readonly<Record<string, string>>;
  readonly tables: Readonly<Record<string, TableMigration>>;
  /** Note with which generation a column came (table, column, generation). */
  readonly put_added: string;
  /** Table, column and generation of all that came later than the file. */
  readonly added: string;
  /** Note what the file is of now (fingerprint, schema as JSON, generation, digest of the capture triggers). */
  readonly set_schema: string;
  /** The engine's tables that know the app's by name, in their column `tbl`. */
  readonly books: readonly string[];
  /** Column and generation of what came later in one table (table). */
  readonly added_of: string;
  /** Forget with which generation a column came (table, column). */
  readonly drop_added: string;
  /** Texts of the indexes and triggers that others have made on a table (table). */
  readonly attached: string;
  /** Set the hash of a member that is not known to be damaged (hash, scope, table, key). */
  readonly set_hash: string;
}

/** One step; tables and columns have the names that the steps before it have given them. */
export interface MigrationStep {
  readonly kind: "add_check" | "add_foreign_key" | "add_group" | "add_unique" | "change_column_order" | "change_correction" | "change_default" | "change_delete_policy" | "change_fill" | "change_foreign_key_order" | "change_nullable" | "change_policy" | "change_reach" | "change_type" | "change_unique_order" | "drop_column" | "drop_foreign_key" | "drop_group" | "drop_table" | "drop_unique" | "rename_column" | "rename_table" | "tighten_check";
  readonly table: string;
  readonly column?: string;
  readonly to?: string;
  readonly convert?: string | null;
}

/** A foreign key: `columns` refer to the key of `table`. */
export interface Reference {
  readonly columns: readonly string[];
  readonly table: string;
  /** Keys of the rows that refer to a parent (parameters: the parent's key). */
  readonly children: string;
}

/** Everything a host needs to run a replica of this schema. */
export interface ReplicaProgram {
  readonly format: number;
  readonly fingerprint: string;
  /** What the statements were compiled from: a host needs the types of columns too. */
  readonly schema: Schema;
  /** The engine's own synced tables, which come after those of the schema. */
  readonly engine_tables: readonly Table[];
  readonly create: readonly string[];
  readonly triggers: Readonly<Record<string, string>>;
  readonly views: Readonly<Record<string, string>>;
  readonly local: readonly string[];
  /** End the open group, if there is one: parameters are its time, and 1 when other programs wrote it; the log's length. */
  readonly mark: string;
  /** Where groups end in the log, when, whether other programs wrote them, and the salt of each one's last note. */
  readonly marks: string;
  /** The tables that the log has notes of. */
  readonly log_tables: string;
  /** The same, after a place in it. */
  readonly log_tables_after: string;
  /** The log's last entry: its place, table ('': a mark) and salt. */
  readonly log_last: string;
  readonly empty_log: string;
  /** The tables that may have changes or shadows: they had some at the last exchange, or since. */
  readonly noted_tables: string;
  readonly add_noted: string;
  readonly drop_noted: string;
  /** How many groups of the log have a net change. */
  readonly open_groups: string;
  /** When the first group that ends in the log was written; NULL: none does. */
  readonly first_logged: string;
  /** How many net changes the log holds. */
  readonly count_logged: string;
  /** Before a table of a snapshot file is imported into one that is not empty. */
  readonly load_begin: readonly string[];
  /** And after it. */
  readonly load_end: readonly string[];
  /** What a snapshot file says of itself. */
  readonly load_about: string;
  /** The statements on the engine's own tables. */
  readonly bookkeeping: Bookkeeping;
  /** How a file of an older generation, or format, is made into one of this program. */
  readonly migration: MigrationProgram;
  readonly tables: Readonly<Record<string, TableProgram>>;
}

/** The server's revisions of rows, `holdfast_row`. */
export interface RowStatements {
  /** Keys of which a revision is known (table). */
  readonly keys: string;
  /** The revision of one row (table, key). */
  readonly revision: string;
  /** Note a revision (table, key, revision). */
  readonly put: string;
  /** Forget one (table, key). */
  readonly remove: string;
  /** Forget all: a salvaged file knows no rows of the server. */
  readonly clear: string;
}

/** All synced tables of an app. `local` is SQL for tables and triggers that are not synced. */
export interface Schema {
  readonly name: string;
  readonly tables: readonly Table[];
  readonly generation?: number;
  readonly local?: readonly string[];
  readonly migrations?: readonly Migration[];
  readonly supports_from?: number;
}

/** The scopes a replica reads, with both sides' digests: `holdfast_scope`. */
export interface ScopeStatements {
  /** Their names. */
  readonly names: string;
  /** The key to the hashes of a scope's rows (scope). */
  readonly hash_key: string;
  /** Key, count and digest of each, of this side. */
  readonly digests: string;
  /** Count and digest of each, of this side and of the server's. */
  readonly both_digests: string;
  /** Those that differed after the last answer. */
  readonly differing: string;
  /** The checkpoint: version, count, digest and seal of each that the server has sealed. */
  readonly positions: string;
  /** Take one in (scope, digest of nothing, the same, key, whether it may be written). */
  readonly grant: string;
  /** Store where one is after an answer (version, seal, count and digest of the server, count and digest of this side, whether they differ, scope). */
  readonly finish: string;
  /** Store this side's digest (count, digest, scope). */
  readonly set_digest: string;
  /** Forget one (scope). */
  readonly remove: string;
}

/** The one row of `holdfast_state`. Single columns are read and set by their names. */
export interface StateStatements {
  /** Make it (format, fingerprint, schema as JSON, digest of the capture triggers), with a name of the replica's own. */
  readonly make: string;
  /** Count differences that should not have been (how many). */
  readonly add_mismatches: string;
  /** Name and text of every trigger of the file. */
  readonly triggers: string;
  /** Name and text of the capture triggers of a table (table). */
  readonly capture_of: string;
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

/** The pieces of one table. */
export interface TableMigration {
  /** Make the table and all that belongs to it, in a file that does not have it. */
  readonly create: readonly string[];
  /** By name: the columns, as they stand in the table's definition. */
  readonly definitions: Readonly<Record<string, string>>;
  /** What stands behind the columns there: keys, and how long they may be. */
  readonly keys: readonly string[];
  /** And behind that the declared checks. */
  readonly checks: readonly CheckPart[];
  /** The data columns, by name in declared order. */
  readonly columns: Readonly<Record<string, ColumnMigration>>;
  /** All noted changes, by key and in order; columns as in `changes`. */
  readonly images: string;
  /** Set the values of a noted change: old ones, new ones, its key, its group. */
  readonly set_images: string;
  /** The shadows of rows that exist: key, data columns. */
  readonly shadows: string;
  /** All columns, by name in declared order, for a table that declared steps make anew; none when the schema declares no steps. */
  readonly shapes: Readonly<Record<string, ColumnReshaping>>;
}

/** The statements of one table. Rows are all columns in declared order; keys in key order. */
export interface TableProgram {
  readonly name: string;
  readonly select_row: string;
  /** Rows by a JSON array of their keys' texts; empty for keys of several columns or of bytes. */
  readonly select_rows: string;
  readonly upsert_row: string;
  readonly delete_row: string;
  readonly all_rows: string;
  /** For each unique key: keys of other rows with the same values (parameters: values, then key). */
  readonly colliding: readonly string[];
  /** Make the log's notes of this table into notes of the outbox. */
  readonly fold: string;
  /** At most how many bytes the notes after a place in the log have as a message; and 1 where `odd_rows` has something for the host to look at. */
  readonly log_weight: string;
  /** Of the notes after a place in the log, those of which a value may not be fit to be sent (`sql.unfit`): 1 where not only bytes may be wrong, then texts as bytes, of the key first. */
  readonly odd_rows: string;
  /** Keys of the rows that the log has notes of. */
  readonly log_keys: string;
  /** Rowid, group and bytes of the texts of the groups from ? on that may not be UTF-8. */
  readonly odd_texts: string;
  /** Keep texts that are not UTF-8 as bytes: another key or NULL, a flag for each, and the rowid. */
  readonly mend_texts: string;
  /** The groups from ? on that have changes of this table. */
  readonly groups: string;
  /** Give a group another number: the new one, the old one. */
  readonly renumber: string;
  /** Move the note of a key to another group: the new number, the old one, the key. */
  readonly move: string;
  /** The noted changes of the groups from ? on, by key and in order, of rows that have earlier changes than those; the row's revision, then columns as in `changes`. */
  readonly chained: string;
  /** The changes of a key before a group, the last one first, so many: columns as in `chained`. */
  readonly earlier: string;
  /** The groups before a group that inserted or deleted the row of a key, the last one first. */
  readonly makers: string;
  /** For each foreign key: pairs of changes, of which one makes a reference to what the other inserts (`sql.dependence`). */
  readonly made: readonly string[];
  /** For each foreign key: pairs of changes, of which one deletes a row of the parent's table that the other no longer refers to. */
  readonly released: readonly string[];
  /** For each unique key: pairs of changes, of which one takes a value that the other gave up. */
  readonly freed: readonly string[];
  readonly set_bases: string;
  /** Put a change back that had left: columns as in `changes`. */
  readonly put_change: string;
  /** Changes of groups from ? to ?: tx, key, was, now, base, bases, old values, new values. */
  readonly changes: string;
  /** How many changes of the table each group from ? to ? has. */
  readonly counts: string;
  /** All noted changes of one key, settled or not, in order; columns as in `changes`. */
  readonly all_key_changes: string;
  /** Unsettled changes of one key, in order; columns as in `changes`. */
  readonly key_changes: string;
  /** Group and key of the changes of groups from ? to ?, in order. */
  readonly touched_keys: string;
  /** Keys with unsettled changes. */
  readonly unsettled_keys: string;
  /** Those of some keys that have unsettled changes (parameter: a JSON array). */
  readonly unsettled_among: string;
  /** Keys that unsettled transactions, none of them set aside, delete. */
  readonly deleted_keys: string;
  /** Keys of unsettled transactions that are set aside. */
  readonly aside_keys: string;
  /** Keys of which some change is set aside, refused, or held: what the table shows is not the server's row with all noted changes. */
  readonly unplain_keys: string;
  /** The foreign keys that are enforced on a replica. */
  readonly references: readonly Reference[];
  /** Whether there are changes or shadows of the table. */
  readonly noted: string;
  /** How many changes the groups from ? on have: all, which SQLite counts by pages, without those before, which are few. */
  readonly count_changes: string;
  /** How one row stands (parameter: its key); no row: nobody knows it. */
  readonly row_state: string;
  readonly delete_group: string;
  /** Remove the changes of acknowledged groups from ? to ?. */
  readonly delete_acked: string;
  readonly select_shadow: string;
  readonly put_shadow: string;
  readonly delete_shadow: string;
  /** Keys with shadows. */
  readonly shadow_keys: string;
  /** Those of some keys that have shadows (parameter: a JSON array). */
  readonly shadows_among: string;
  /** How a snapshot file is looked at and imported. */
  readonly load: LoadProgram;
}

/** The outbox's list of transactions, `holdfast_tx`. */
export interface TransactionStatements {
  /** The highest number; NULL: there is none. */
  readonly newest: string;
  /** The highest number of what no other program wrote; 0: there is none. */
  readonly newest_own: string;
  /** Number and time of the first that was never sent. */
  readonly first_pending: string;
  /** Number and time of the first without an outcome. */
  readonly first_unsettled: string;
  /** How many have no outcome: 0, 1, or 2 for any more. */
  readonly unsettled_up_to_two: string;
  /** The lowest and the highest number without an outcome; 0: there is none. */
  readonly unsettled_span: string;
  /** The lowest and the highest number that was sent and has no outcome; NULL: there is none. What was never sent is behind them, and not looked at. */
  readonly sent_span: string;
  /** How many there are of each state (parameter: below this number). */
  readonly count_by_state: string;
  /** How many are set aside. */
  readonly count_aside: string;
  /** Put one of the file's generation at the end (number, id, time, number that it replaces, why it is void, whether other programs wrote it). */
  readonly add: string;
  /** Note what one rests on (JSON array of numbers, number). */
  readonly set_after: string;
  /** Numbers of those with an outcome. */
  readonly decided: string;
  /** Number, and what it rests on, of those without an outcome that rest on something. */
  readonly resting: string;
  /** What goes up next, without its changes (how many at most). */
  readonly next_heads: string;
  /** Mark as sent (up to this number). */
  readonly set_sent: string;
  /** Mark as never sent (from this number on). */
  readonly take_back: string;
  /** Number and id of those without an outcome (from, to). */
  readonly unsettled_ids: string;
  /** Those of some numbers, as in `next_heads` (from, to). */
  readonly heads: string;
  /** All of them, as an export tells of them. */
  readonly described: string;
  /** Record an outcome (state, code, message, field, what it is held by, time, outcome, number). What is applied stays set aside until it leaves. */
  readonly decide: string;
  /** Remove the acknowledged ones (from, to). */
  readonly remove_acked: string;
  /** Remove one (number). */
  readonly remove: string;
  /** What is set aside and has no outcome: number, the first number made after that, and why. */
  readonly aside: string;
  /** Set one aside (the first number made after that, code, message, field, what it builds on, number). */
  readonly set_aside: string;
  /** Set one aside no longer (number). */
  readonly show_again: string;
  /** Put one back that had left, as sent (number, id, time, what it rests on as a JSON array, number that it replaces, generation). */
  readonly put_back: string;
  /** Numbers of what is refused or held. */
  readonly stopped: string;
  /** What is held: number, what it rests on, and the code it waits with. */
  readonly held: string;
  /** Note why one stays held (code, message, what it is held by or 0: as before, number). */
  readonly set_held: string;
  /** What is refused, held or set aside, in order. */
  readonly inbox: string;
  /** One of them (its number as text, or its id). */
  readonly inbox_item: string;
}
