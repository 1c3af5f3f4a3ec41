-- The engine's own tables. Names and meaning are those of the SQLite store; text is compared as bytes.

CREATE TABLE holdfast_state (
    id          integer PRIMARY KEY CHECK (id = 1),
    epoch       text NOT NULL,
    seal_secret bytea NOT NULL,
    fingerprint text NOT NULL,
    schema      text NOT NULL,
    stale       text NOT NULL DEFAULT '[]'
);

-- Revision and stamps of each row; image: the last values of a removed row, MessagePack by column.
-- prior: the revision that the last write was based on (0: none). One statement writes new records and
-- changed ones, each only if what was read still stands, and always by the primary key: a join would be
-- planned by statistics, which are wrong in a table that has just grown.
CREATE TABLE holdfast_row (
    tbl    text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    rev    bigint NOT NULL,
    stamps bytea NOT NULL,
    image  bytea,
    prior  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tbl, key)
);
CREATE INDEX holdfast_row_gone ON holdfast_row (tbl, key) WHERE image IS NOT NULL;

-- size: bytes of the row.
CREATE TABLE holdfast_feed (
    scope   text COLLATE "C" NOT NULL,
    tbl     text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    hash    bytea NOT NULL,
    removed boolean NOT NULL,
    size    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, tbl, key)
);
CREATE INDEX holdfast_feed_version ON holdfast_feed (scope, version);
CREATE INDEX holdfast_feed_removed ON holdfast_feed (scope, version) WHERE removed;

-- floor: removals at or below this version may have been forgotten; bytes: of all rows.
-- tx: the transaction that wrote the head; it tells a writer whether what it has read is still so.
-- The row changes with every commit of its scope: room is left for that on its page.
CREATE TABLE holdfast_scope (
    scope  text COLLATE "C" PRIMARY KEY,
    head   bigint NOT NULL,
    count  bigint NOT NULL,
    digest text NOT NULL,
    key    bytea NOT NULL,
    tx     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    floor  bigint NOT NULL DEFAULT 0,
    bytes  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- at: a moment at which this was the newest, so that it and all before are at least as old.
CREATE TABLE holdfast_commit (
    scope   text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    count   bigint NOT NULL,
    digest  text NOT NULL,
    at      bigint,
    PRIMARY KEY (scope, version)
);
CREATE INDEX holdfast_commit_mark ON holdfast_commit (scope, version) WHERE at IS NOT NULL;

-- waiting, oldest_us, client: what a device told at its last exchange.
CREATE TABLE holdfast_device (
    device    text COLLATE "C" PRIMARY KEY,
    "user"    text NOT NULL,
    nonce     text NOT NULL,
    high      bigint NOT NULL,
    confirmed bigint NOT NULL,
    last_seen bigint NOT NULL,
    offset_us bigint NOT NULL,
    waiting   bigint NOT NULL DEFAULT 0,
    oldest_us bigint,
    client    text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);

CREATE TABLE holdfast_applied (
    device  text COLLATE "C" NOT NULL,
    number  bigint NOT NULL,
    id      bytea NOT NULL,
    body    bytea NOT NULL,
    outcome text NOT NULL,
    settled boolean NOT NULL,
    answer  bytea,
    at      bigint,
    PRIMARY KEY (device, number)
);
CREATE INDEX holdfast_applied_answer ON holdfast_applied (device, number) WHERE answer IS NOT NULL;
CREATE INDEX holdfast_applied_mark ON holdfast_applied (device, number) WHERE at IS NOT NULL;

CREATE TABLE holdfast_journal (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     bigint NOT NULL,
    tbl    text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    col    text NOT NULL,
    kind   text NOT NULL,
    entry  bytea NOT NULL
);
CREATE INDEX holdfast_journal_row ON holdfast_journal (tbl, key);
CREATE INDEX holdfast_journal_at ON holdfast_journal (at);

-- Notes of direct writes: appended by triggers, taken by ingest. old: the row as it was, as JSON;
-- scope: whom it concerns, a note for each scope of the row; '*': anybody.
CREATE TABLE holdfast_dirty (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tbl    text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    was    boolean NOT NULL,
    old    text,
    scope  text COLLATE "C" NOT NULL DEFAULT '*'
);
CREATE INDEX holdfast_dirty_scope ON holdfast_dirty (scope, number);
CREATE INDEX holdfast_dirty_row ON holdfast_dirty (tbl, key);

-- In which scopes the rows of journal entries are: whoever reads the journal reads what is theirs, and
-- not past what is not.
CREATE TABLE holdfast_journal_scope (
    scope  text COLLATE "C" NOT NULL,
    number bigint NOT NULL REFERENCES holdfast_journal ON DELETE CASCADE,
    tbl    text COLLATE "C" NOT NULL,
    PRIMARY KEY (scope, number)
);
CREATE INDEX holdfast_journal_scope_tbl ON holdfast_journal_scope (scope, tbl, number);
CREATE INDEX holdfast_journal_scope_number ON holdfast_journal_scope (number);

-- When each job of maintenance was last done, by whichever process.
CREATE TABLE holdfast_job (
    name text COLLATE "C" PRIMARY KEY,
    at   bigint NOT NULL
);

-- Snapshot and catch-up files. about: JSON; data: compressed already, so PostgreSQL need not try.

CREATE TABLE holdfast_file (
    id    text COLLATE "C" PRIMARY KEY,
    key   text COLLATE "C" NOT NULL,
    made  bigint NOT NULL,
    about bytea NOT NULL
);
CREATE INDEX holdfast_file_key ON holdfast_file (key, made);

CREATE TABLE holdfast_file_piece (
    file   text COLLATE "C" NOT NULL REFERENCES holdfast_file ON DELETE CASCADE,
    number integer NOT NULL,
    digest bytea NOT NULL,
    data   bytea NOT NULL,
    PRIMARY KEY (file, number)
);
ALTER TABLE holdfast_file_piece ALTER COLUMN data SET STORAGE EXTERNAL;

-- How far whoever makes the file of a key is.
CREATE TABLE holdfast_file_build (
    key    text COLLATE "C" PRIMARY KEY,
    "rows" bigint NOT NULL,
    total  bigint NOT NULL
) WITH (fillfactor = 50);

-- People, their devices, and what lets them in. Times are microseconds since 1970; lists are JSON.

CREATE TABLE holdfast_user (
    name     text COLLATE "C" PRIMARY KEY,
    read     text NOT NULL,
    write    text NOT NULL,
    roles    text NOT NULL,
    password text,
    disabled boolean NOT NULL,
    created  bigint NOT NULL
);

-- revoked: since when, 0 while it stands.
CREATE TABLE holdfast_registration (
    device  text COLLATE "C" PRIMARY KEY,
    "user"  text COLLATE "C" NOT NULL,
    name    text NOT NULL,
    created bigint NOT NULL,
    revoked bigint NOT NULL
);
CREATE INDEX holdfast_registration_user ON holdfast_registration ("user", device);

-- Only hashes are kept. ends: the expiry, or the end of the grace window once a successor was made.
CREATE TABLE holdfast_token (
    hash       bytea PRIMARY KEY,
    device     text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    ends       bigint NOT NULL,
    used       boolean NOT NULL
);
CREATE INDEX holdfast_token_device ON holdfast_token (device, generation);

-- device: whom it may enrol ('': a new one), or has enrolled; attempt: the hash of the attempt that used it.
CREATE TABLE holdfast_enrolment (
    hash    bytea PRIMARY KEY,
    "user"  text COLLATE "C" NOT NULL,
    device  text COLLATE "C" NOT NULL,
    expires bigint NOT NULL,
    attempt bytea NOT NULL
);

-- Grows with each change of what a user or device may do.
CREATE TABLE holdfast_rights (
    id         integer PRIMARY KEY CHECK (id = 1),
    generation bigint NOT NULL
);
INSERT INTO holdfast_rights VALUES (1, 1);
