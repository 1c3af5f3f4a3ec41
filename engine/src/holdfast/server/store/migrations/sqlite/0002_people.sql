-- People, their devices, and what lets them in. Times are microseconds since 1970; lists are JSON.

-- What a device told at its last exchange.
ALTER TABLE holdfast_device ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE holdfast_device ADD COLUMN oldest_us INTEGER;
ALTER TABLE holdfast_device ADD COLUMN client TEXT NOT NULL DEFAULT '';

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
