/**
 * Every limit of the browser replica, with its unit last in the name.
 *
 * Knows: numbers; those that both sides share have the names and values of `core/limits.py`, and a
 * test holds them to it. Upholds I31: memory, disk and time are bounded by configuration.
 */

export const KIB = 1024;
export const MIB = 1024 * KIB;

// What travels up
export const COMPRESSION_RATIO_MAX = 200;
export const PUSH_TRANSACTIONS_MAX = 1000;
export const PUSH_CHANGES_MAX = 10_000;
export const PUSH_BYTES_SOFT = 4 * MIB;
export const TRANSACTION_CHANGES_MAX = 50_000;
export const TRANSACTION_BYTES_MAX = 16 * MIB;
export const SCOPES_MAX = 1000;
export const VERIFY_RANGES_MAX = 256;
export const VERIFY_ROWS_MAX = 4096;
export const VERIFY_ROUNDS_MAX = 24;
/** Round trips that only go on with what a server has not looked at before. */
export const VERIFY_CONTINUED_MAX = 10_000;

// What comes down
/** Lower than a server's or a Python replica's: an answer is kept in memory until it is whole. */
export const ANSWER_BYTES_MAX = 512 * MIB;
export const RESPONSE_LINE_BYTES_MAX = 64 * MIB;
export const SMALL_BODY_BYTES_MAX = 64 * KIB;
/** A replica program: statements for 200 tables of 200 columns stay below it. */
export const PROGRAM_BYTES_MAX = 32 * MIB;
export const GZIP_FLOOR_BYTES = 320;

// Files: first loads and catch-ups that are too large for an answer
export const FILE_UNPACKED_BYTES_MAX = 16 * 1024 * MIB;
export const FILE_PIECE_BYTES = 256 * KIB;
/** Of what is unpacked at a time: equal values shrink a thousandfold, and come out all at once. */
export const FILE_PACKED_PIECE_BYTES = 16 * KIB;
export const FILES_AT_ONCE_MAX = 8;
/** A download that was cut goes on at once when it has brought so much, else after a back-off. As
 * each request has its deadline, this is also the least rate. */
export const FILE_GAIN_BYTES_MIN = 256 * KIB;
export const FILE_ROUNDS_MAX = 32;
/** Places that loads have reached, which a session remembers: each has stages, and several files. */
export const LOAD_PLACES_MAX = 8;
export const FILE_BUILD_PATIENCE_MS = 600_000;
export const FILE_AGAIN_MS = 100;
export const FILE_WAIT_MS_MAX = 30_000;
/** Free space that an import needs, in sizes of the unpacked files: log, tables and their keys. */
export const FILE_SPACE_SHARE = 3;
/** Handles of the pool that are left to SQLite while files are imported: log, journal, sorting. */
export const POOL_SPARE_MIN = 4;
/** How often it is told how far a load is. */
export const LOADING_TOLD_MS = 100;

// Identity: what is kept for a server that comes back from a backup
export const KEPT_US = 7 * 24 * 3_600_000_000;
/** What a backup has is kept for so long, for an older one may be the one that is restored. */
export const KEPT_SAVED_US = 2 * 24 * 3_600_000_000;
export const KEPT_BYTES_MAX = 64 * MIB;
/** After so many forks without an answer between them a person has to look. */
export const FORKS_IN_A_ROW_MAX = 3;

// Names and values
export const KEY_BYTES_MAX = 1024;
export const TEXT_BYTES_MAX = 4 * MIB;
/** All values of a row together. */
export const ROW_BYTES_MAX = 8 * MIB;
/** Arrays and objects within each other, in a value of type `json`. */
export const JSON_NESTING_MAX = 512;
export const SCOPE_NAME_LENGTH_MAX = 200;
export const DECIMAL_DIGITS_MAX = 30;
export const INTEGER_MIN = -(2n ** 63n);
export const INTEGER_MAX = 2n ** 63n - 1n;
export const TIMESTAMP_US_MAX = 253_402_300_799_999_999n;
export const TIMESTAMP_US_MIN = -62_135_596_800_000_000n;
export const WIRE_INTEGER_MAX = Number.MAX_SAFE_INTEGER;

// The log of capture
/** Notes after which a commit seals the log. */
export const LOG_NOTES_MAX = 100_000;
/** Notes after which the log is sealed before somebody looks at what is pending. */
export const LOG_NOTES_SHOWN = 1_000;

/** Taken as it is needed. With SQLite's own 16 MiB, a first load of 500,000 rows spends twice the time
 * on writing: keys that are random fall anywhere, and pages leave the cache before they are full. */
export const PAGE_CACHE_KIB = 64 * 1024;
/** Of SQLite's log file, after what it held is in the database. */
export const LOG_BYTES_KEPT = 32 * MIB;

// Time
export const CONNECT_TIMEOUT_MS = 10_000;
export const READ_TIMEOUT_MS = 60_000;
export const REQUEST_DEADLINE_MS = 600_000;
export const EVENT_HEARTBEAT_MS = 10_000;
export const RETRY_AFTER_MS_MAX = 24 * 3600 * 1000;

/** How long live queries and watchers wait for more to happen, so that they are told of it once: less
 * than a frame. */
export const TELL_AFTER_MS = 10;

/** Background sync that has gone on for so long since it failed in an unforeseen way has recovered: the
 * back-off begins anew. */
export const SYNC_REVIVED_MS = 60_000;

// Tabs
/** A tab's request to the leader is asked again of the next leader after this silence. */
export const LEADER_SILENCE_MS = 12_000;
/** How often a leader says that it is alive, and a tab that it still wants what it asked for. */
export const LEADER_BEAT_MS = 2_000;
/** Steps of SQLite's machine after which a long statement tells that it gets on: a millisecond or two. */
export const WORK_TOLD_STEPS = 100_000;
/** An open transaction of a tab that says nothing for so long is undone: the tab is gone. */
export const TRANSACTION_IDLE_MS = 10_000;
/** Between two rounds of telling live queries what has changed, however long a round takes. */
export const TELL_PAUSE_MS_MAX = 100;
/** How long a new leader waits for the old one to let go of the file. */
export const OPFS_WAIT_MS = 10_000;
/** Statements kept prepared. */
export const STATEMENTS_MAX = 256;

// How work is cut up, and how long is waited in between: what changes speed, and never what is true.
/** A file that is damaged may be so on this disk, or in a cache: it is fetched once more. */
export const FILE_TRIES_MAX = 2;
/** Earlier changes of a row that are read at once. */
export const CHAIN_PAGE_ROWS = 4;
export const CHAIN_PAGE_ROWS_MAX = 256;
export const PUSH_STEP_TRANSACTIONS = 64;
export const KEPT_STEP_ROWS = 1000;
/** What a transaction has besides its changes, generously. */
export const TRANSACTION_AROUND_BYTES = 4096;
export const EVENT_LENGTH_MAX = 1024 * KIB;
export const OFFSET_SAMPLES_MAX = 8;
export const TAKEN_POLL_MS = 50;
export const COMPLETED_KEPT_US = 3_600_000_000;
export const COMPLETED_FORGOTTEN_EVERY_US = 300_000_000;

/** A record in a damaged file that says to be larger is not one. */
export const DAMAGED_VALUE_BYTES_MAX = 2 ** 30;
/** Inner pages above one another in a damaged file; more go round in a circle. */
export const DAMAGED_DEPTH_MAX = 40;
