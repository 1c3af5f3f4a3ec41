// Made by `make protocol` from protocol/schema/messages.json; do not edit.

export const VERSION = 1;

/** One change of one row. `new` has the touched columns; a counter has its difference. `base` is the row's revision the edit was made on (0: none); `bases` names columns that inherit an older base from an unsettled change. `old` has the old values (not of counters). An insert's `new` has all columns but the key. */
export interface Change {
  readonly table: string;
  readonly key: readonly unknown[];
  readonly op: "delete" | "insert" | "update";
  readonly base?: number;
  readonly bases?: Readonly<Record<string, number>>;
  readonly new?: Readonly<Record<string, unknown>>;
  readonly old?: Readonly<Record<string, unknown>>;
}

/** The last line: without it nothing of the answer is believed. `lines` counts those before. */
export interface Checkpoint {
  readonly type: "checkpoint";
  readonly scopes: Readonly<Record<string, Position>>;
  readonly lines: number;
}

/** `POST /v1/enrol`: with a code, or a user and password, or (neither) as who has signed in. `device`: what the replica is already, "" for a new one; `name`: for people; `attempt`: random, the same when the answer was lost and it is tried again. */
export interface EnrolRequest {
  readonly protocol: number;
  readonly code?: string;
  readonly user?: string;
  readonly password?: string;
  readonly device?: string;
  readonly name?: string;
  readonly attempt?: string;
}

/** A device and its token. Times are the server's, microseconds since 1970. `refresh_at`: from when on the device should ask for a new token. */
export interface Enrolled {
  readonly device: string;
  readonly user: string;
  readonly token: string;
  readonly expires_at: number;
  readonly refresh_at: number;
  readonly time: number;
}

/** Any answer that is not 2xx: JSON with a stable code. */
export interface ErrorAnswer {
  readonly error: ErrorBody;
  readonly echo?: string;
}

export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** `POST /v1/exchange`. `confirmed`: the outcomes up to this number are stored durably. `files`: the encodings of files that the device can unpack (`gzip`, `zstd`), best first; with none, the answer has all rows in it, however many they are. `brief`: the answer may leave out what the device knows: rows that it has made itself (`own` lines tell of them), keys of scopes that are in its checkpoint, the schema's fingerprint. */
export interface ExchangeRequest {
  readonly protocol: number;
  readonly schema: string;
  readonly device?: string;
  readonly replica?: string;
  readonly origin?: Origin | null;
  readonly epoch?: string;
  readonly now: number;
  readonly checkpoint?: Readonly<Record<string, Position>>;
  readonly nonce: Nonces;
  readonly offset?: Offset | null;
  readonly report?: Report | null;
  readonly confirmed?: number;
  readonly files?: readonly string[];
  readonly brief?: boolean;
  readonly transactions?: readonly Transaction[];
}

/** A file that is being made: `rows` of `total` rows are in it. `scopes`: of what. */
export interface FileBuild {
  readonly kind: "catchup" | "snapshot";
  readonly scopes: readonly string[];
  readonly rows: number;
  readonly total: number;
}

/** A file to fetch before the same exchange is repeated. `snapshot`: a SQLite file with all rows of one scope, the one in `positions`. `catchup`: lines of rows and removals, that take the device from its checkpoint to `positions`, which has all of its scopes. `path`: below the server's URL, signed and good until `until` (microseconds). `sha256` and `bytes` are of what is sent; `unpacked_bytes` is its size without the encoding. */
export interface FileOffer {
  readonly kind: "catchup" | "snapshot";
  readonly id: string;
  readonly path: string;
  readonly until: number;
  readonly encoding: "gzip" | "zstd";
  readonly bytes: number;
  readonly sha256: string;
  readonly unpacked_bytes: number;
  readonly rows: number;
  readonly positions: Readonly<Record<string, Position>>;
}

/** In place of rows: files to fetch, and files to ask for again after `retry_after_ms`. Stands alone between head and checkpoint, which then has no scopes. Such an answer settles nothing: the device repeats the exchange, with the positions that the files have brought. */
export interface Files {
  readonly type: "files";
  readonly offers: readonly FileOffer[];
  readonly building?: readonly FileBuild[];
  readonly retry_after_ms?: number;
}

/** Keys (canonical text) of rows that are in none of the device's scopes any more. */
export interface Gone {
  readonly type: "gone";
  readonly table: string;
  readonly keys: readonly string[];
}

/** The first line of an answer. `schema` and `generation` are the server's own; a brief one leaves them out (empty, 0) when they are those of the request. `backed_up`: transactions of this replica up to this number are in a backup of the server. `replaced`: this is the first answer to a replica, and its device had another one before. */
export interface Head {
  readonly type: "head";
  readonly protocol: number;
  readonly epoch: string;
  readonly device: string;
  readonly user: string;
  readonly echo: string;
  readonly time: number;
  readonly schema: string;
  readonly scopes: Readonly<Record<string, ScopeGrant>>;
  readonly outcomes?: readonly Outcome[];
  readonly generation?: number;
  readonly backed_up?: number;
  readonly replaced?: boolean;
}

/** `POST /v1/enrolments`, by an admin: a code for a user, perhaps only for one device. */
export interface InviteRequest {
  readonly protocol: number;
  readonly user: string;
  readonly device?: string;
  readonly minutes?: number;
}

export type Line = Head | Rows | Own | Gone | RangeAnswer | Files | Checkpoint;

/** `since`: the nonce of the last answered exchange; `to`: the proposed next one. */
export interface Nonces {
  readonly since: string;
  readonly to: string;
}

/** Numbers of transactions, both ends inclusive. */
export interface Numbers {
  readonly first: number;
  readonly last: number;
}

/** The device's measured clock offset (server minus device), and the bound of its error. */
export interface Offset {
  readonly us: number;
  readonly error_us: number;
}

/** The replica that another one has come out of, by a copy or a restore: transactions up to number `last` may have been sent as its own before, and are offered again. */
export interface Origin {
  readonly replica: string;
  readonly last: number;
}

/** Outcome of a transaction. `held` names the transaction it waits for in `held_by`. */
export interface Outcome {
  readonly number: number;
  readonly id: string;
  readonly outcome: "applied" | "held" | "refused";
  readonly code?: string;
  readonly message?: string;
  readonly field?: string;
  readonly held_by?: number;
  readonly versions?: Readonly<Record<string, number>>;
  readonly impossible?: number;
  readonly known?: boolean;
}

/** Rows of one table that are what this device has made of them: its row as of its checkpoint, with its changes that this answer says were applied, and nobody else's. Their new revisions. */
export interface Own {
  readonly type: "own";
  readonly table: string;
  readonly keys: readonly string[];
  readonly revs: readonly number[];
}

/** A scope's version, its count of rows and digest, and the server's seal on them. */
export interface Position {
  readonly version: number;
  readonly count: number;
  readonly digest: string;
  readonly seal: string;
}

/** A queried range: either narrower parts, or (few rows) each row: table, key, rev, hash hex. */
export interface RangeAnswer {
  readonly type: "range";
  readonly scope: string;
  readonly start: string;
  readonly end: string | null;
  readonly count: number;
  readonly digest: string;
  readonly parts?: readonly RangeDigest[];
  readonly leaf?: readonly (readonly [string, string, number, string])[];
  readonly revisions?: string;
}

/** A part of a range: `start` to `end`, its rows' count and digest, and that of their revisions where it was asked for. */
export interface RangeDigest {
  readonly start: string;
  readonly end: string | null;
  readonly count: number;
  readonly digest: string;
  readonly revisions?: string;
}

/** A range of a scope's rows: from `start` (inclusive) to `end` (exclusive), `table/key`. `revisions`: the answer tells their digest too. */
export interface RangeQuery {
  readonly scope: string;
  readonly start?: string;
  readonly end?: string | null;
  readonly revisions?: boolean;
}

/** `POST /v1/token`, with the token that is to be followed by a new one. */
export interface RefreshRequest {
  readonly protocol: number;
}

/** Report of a device about itself: transactions that wait on it and are not in this request, when the oldest of them was made (device time), and its version. */
export interface Report {
  readonly waiting?: number;
  readonly oldest?: number | null;
  readonly client?: string;
}

/** `POST /v1/devices/{device}/revoke`, by an admin. */
export interface RevokeRequest {
  readonly protocol: number;
}

export interface RowQuery {
  readonly table: string;
  readonly key: string;
}

/** Rows of one table: each is its revision, then its values in column order. */
export interface Rows {
  readonly type: "rows";
  readonly table: string;
  readonly rows: readonly (readonly unknown[])[];
}

/** A scope the device may read; `key` is the key of its row hashes, hex (empty: as before). `reconcile`: the device was away for longer than removals are remembered. The news may lack some; digests tell which rows are gone. */
export interface ScopeGrant {
  readonly key: string;
  readonly write?: boolean;
  readonly reconcile?: boolean;
}

/** `POST /v1/sign-out`: the device's tokens are forgotten; its work is the device's affair. */
export interface SignOutRequest {
  readonly protocol: number;
}

/** Changes that were committed together. `at`: device time at sealing, microseconds. `void` (with no changes) says that the device could not encode it; the server records it as refused with this code, so that the numbers stay without gaps. */
export interface Transaction {
  readonly number: number;
  readonly id: string;
  readonly at: number;
  readonly changes: readonly Change[];
  readonly after?: readonly number[];
  readonly replaces?: number;
  readonly void?: string;
  readonly first?: string;
}

/** `POST /v1/verify`: digests of ranges, and the server's version of named rows. `unanswered`: transactions of this device that were sent and have no outcome yet. What the server has decided of them is told in the head, for the rows have it in them. */
export interface VerifyRequest {
  readonly protocol: number;
  readonly schema: string;
  readonly device?: string;
  readonly replica?: string;
  readonly origin?: Origin | null;
  readonly epoch?: string;
  readonly now: number;
  readonly checkpoint?: Readonly<Record<string, Position>>;
  readonly unanswered?: Numbers | null;
  readonly ranges?: readonly RangeQuery[];
  readonly rows?: readonly RowQuery[];
}
