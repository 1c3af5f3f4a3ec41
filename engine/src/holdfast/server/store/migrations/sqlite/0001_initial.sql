-- The engine's own tables. Names and meaning are those of the PostgreSQL store.

-- applying: 1 inside the engine's own write transactions, for the capture triggers.
CREATE TABLE holdfast_state (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    applying    INTEGER NOT NULL DEFAULT 0,
    open_tx     INTEGER NOT NULL DEFAULT 0,
    epoch       TEXT NOT NULL,
    seal_secret BLOB NOT NULL,
    fingerprint TEXT NOT NULL,
    schema      TEXT NOT NULL,
    stale       TEXT NOT NULL DEFAULT '[]'
) STRICT;

-- Revision and stamps of each row; image: the last values of a removed row, MessagePack by column.
CREATE TABLE holdfast_row (
    tbl    TEXT NOT NULL,
    key    TEXT NOT NULL,
    rev    INTEGER NOT NULL,
    stamps BLOB NOT NULL,
    image  BLOB,
    PRIMARY KEY (tbl, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_row_gone ON holdfast_row (tbl, key) WHERE image IS NOT NULL;

-- size: bytes of the row.
CREATE TABLE holdfast_feed (
    scope   TEXT NOT NULL,
    tbl     TEXT NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    removed INTEGER NOT NULL,
    size    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, tbl, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_feed_version ON holdfast_feed (scope, version, removed);
CREATE INDEX holdfast_feed_removed ON holdfast_feed (scope, version) WHERE removed = 1;

-- floor: removals at or below this version may have been forgotten; bytes: of all rows.
CREATE TABLE holdfast_scope (
    scope  TEXT PRIMARY KEY,
    head   INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    digest TEXT NOT NULL,
    key    BLOB NOT NULL,
    floor  INTEGER NOT NULL DEFAULT 0,
    bytes  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- at: a moment at which this was the newest, so that it and all before are at least as old.
CREATE TABLE holdfast_commit (
    scope   TEXT NOT NULL,
    version INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    digest  TEXT NOT NULL,
    at      INTEGER,
    PRIMARY KEY (scope, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_commit_mark ON holdfast_commit (scope, version) WHERE at IS NOT NULL;

-- waiting, oldest_us, client: what a device told at its last exchange.
CREATE TABLE holdfast_device (
    device    TEXT PRIMARY KEY,
    user      TEXT NOT NULL,
    nonce     TEXT NOT NULL,
    high      INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    offset_us INTEGER NOT NULL,
    waiting   INTEGER NOT NULL DEFAULT 0,
    oldest_us INTEGER,
    client    TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE holdfast_applied (
    device  TEXT NOT NULL,
    number  INTEGER NOT NULL,
    id      BLOB NOT NULL,
    body    BLOB NOT NULL,
    outcome TEXT NOT NULL,
    settled INTEGER NOT NULL,
    answer  BLOB,
    at      INTEGER,
    PRIMARY KEY (device, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_applied_answer ON holdfast_applied (device, number) WHERE answer IS NOT NULL;
CREATE INDEX holdfast_applied_mark ON holdfast_applied (device, number) WHERE at IS NOT NULL;

CREATE TABLE holdfast_journal (
    number INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    tbl    TEXT NOT NULL,
    key    TEXT NOT NULL,
    col    TEXT NOT NULL,
    kind   TEXT NOT NULL,
    entry  BLOB NOT NULL
) STRICT;
CREATE INDEX holdfast_journal_row ON holdfast_journal (tbl, key);
CREATE INDEX holdfast_journal_at ON holdfast_journal (at);

-- In which scopes the rows of journal entries are: whoever reads the journal reads what is theirs, and
-- not past what is not.
CREATE TABLE holdfast_journal_scope (
    scope  TEXT NOT NULL,
    number INTEGER NOT NULL,
    tbl    TEXT NOT NULL,
    PRIMARY KEY (scope, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_journal_scope_tbl ON holdfast_journal_scope (scope, tbl, number);
CREATE INDEX holdfast_journal_scope_number ON holdfast_journal_scope (number);

-- Whom the notes of direct writes concern: a row for each scope of each row that was written; '*': anybody.
CREATE TABLE holdfast_noted (
    tbl   TEXT NOT NULL,
    key   TEXT NOT NULL,
    scope TEXT NOT NULL,
    PRIMARY KEY (tbl, key, scope)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_noted_scope ON holdfast_noted (scope);

-- When each job of maintenance was last done, by whichever process.
CREATE TABLE holdfast_job (
    name TEXT PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- People, their devices, and what lets them in. Times are microseconds since 1970; lists are JSON.

CREATE TABLE holdfast_user (
    name     TEXT PRIMARY KEY,
    read     TEXT NOT NULL,
    write    TEXT NOT NULL,
    roles    TEXT NOT NULL,
    password TEXT,
    disabled INTEGER NOT NULL,
    created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- revoked: since when, 0 while it stands.
CREATE TABLE holdfast_registration (
    device  TEXT PRIMARY KEY,
    user    TEXT NOT NULL,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_registration_user ON holdfast_registration (user, device);

-- Only hashes are kept. ends: the expiry, or the end of the grace window once a successor was made.
CREATE TABLE holdfast_token (
    hash       BLOB PRIMARY KEY,
    device     TEXT NOT NULL,
    generation INTEGER NOT NULL,
    ends       INTEGER NOT NULL,
    used       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_token_device ON holdfast_token (device, generation);

-- device: whom it may enrol ('': a new one), or has enrolled; attempt: the hash of the attempt that used it.
CREATE TABLE holdfast_enrolment (
    hash    BLOB PRIMARY KEY,
    user    TEXT NOT NULL,
    device  TEXT NOT NULL,
    expires INTEGER NOT NULL,
    attempt BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Grows with each change of what a user or device may do.
CREATE TABLE holdfast_rights (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO holdfast_rights VALUES (1, 1);
