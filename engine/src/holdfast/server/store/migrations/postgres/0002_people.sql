-- People, their devices, and what lets them in. Times are microseconds since 1970; lists are JSON.

-- What a device told at its last exchange.
ALTER TABLE holdfast_device
    ADD COLUMN waiting   bigint NOT NULL DEFAULT 0,
    ADD COLUMN oldest_us bigint,
    ADD COLUMN client    text NOT NULL DEFAULT '';

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
