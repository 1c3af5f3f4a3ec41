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
