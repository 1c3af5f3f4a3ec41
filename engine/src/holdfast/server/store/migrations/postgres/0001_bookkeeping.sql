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
CREATE TABLE holdfast_row (
    tbl    text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    rev    bigint NOT NULL,
    stamps bytea NOT NULL,
    image  bytea,
    PRIMARY KEY (tbl, key)
);

CREATE TABLE holdfast_feed (
    scope   text COLLATE "C" NOT NULL,
    tbl     text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    hash    bytea NOT NULL,
    removed boolean NOT NULL,
    PRIMARY KEY (scope, tbl, key)
);
CREATE INDEX holdfast_feed_version ON holdfast_feed (scope, version);

-- tx: the transaction that wrote the head; it tells a writer whether what it has read is still so.
-- The row changes with every commit of its scope: room is left for that on its page.
CREATE TABLE holdfast_scope (
    scope  text COLLATE "C" PRIMARY KEY,
    head   bigint NOT NULL,
    count  bigint NOT NULL,
    digest text NOT NULL,
    key    bytea NOT NULL,
    tx     xid8 NOT NULL DEFAULT pg_current_xact_id()
) WITH (fillfactor = 50);

CREATE TABLE holdfast_commit (
    scope   text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    count   bigint NOT NULL,
    digest  text NOT NULL,
    PRIMARY KEY (scope, version)
);

CREATE TABLE holdfast_device (
    device    text COLLATE "C" PRIMARY KEY,
    "user"    text NOT NULL,
    nonce     text NOT NULL,
    high      bigint NOT NULL,
    confirmed bigint NOT NULL,
    last_seen bigint NOT NULL,
    offset_us bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE holdfast_applied (
    device  text COLLATE "C" NOT NULL,
    number  bigint NOT NULL,
    id      bytea NOT NULL,
    body    bytea NOT NULL,
    outcome text NOT NULL,
    settled boolean NOT NULL,
    answer  bytea,
    PRIMARY KEY (device, number)
);
CREATE INDEX holdfast_applied_answer ON holdfast_applied (device, number) WHERE answer IS NOT NULL;

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

-- Notes of direct writes: appended by triggers, taken by ingest. old: the row as it was, as JSON.
CREATE TABLE holdfast_dirty (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tbl    text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    was    boolean NOT NULL,
    old    text
);
