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

CREATE TABLE holdfast_feed (
    scope   TEXT NOT NULL,
    tbl     TEXT NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (scope, tbl, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_feed_version ON holdfast_feed (scope, version, removed);

CREATE TABLE holdfast_scope (
    scope  TEXT PRIMARY KEY,
    head   INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    digest TEXT NOT NULL,
    key    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE holdfast_commit (
    scope   TEXT NOT NULL,
    version INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    digest  TEXT NOT NULL,
    PRIMARY KEY (scope, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE holdfast_device (
    device    TEXT PRIMARY KEY,
    user      TEXT NOT NULL,
    nonce     TEXT NOT NULL,
    high      INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    offset_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE holdfast_applied (
    device  TEXT NOT NULL,
    number  INTEGER NOT NULL,
    id      BLOB NOT NULL,
    body    BLOB NOT NULL,
    outcome TEXT NOT NULL,
    settled INTEGER NOT NULL,
    answer  BLOB,
    PRIMARY KEY (device, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_applied_answer ON holdfast_applied (device, number) WHERE answer IS NOT NULL;

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
