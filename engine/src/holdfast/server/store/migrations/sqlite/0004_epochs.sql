-- Epochs that have ended, because what devices had seen of them was lost; the first one is number 1.
CREATE TABLE holdfast_epoch (
    number   INTEGER PRIMARY KEY,
    epoch    TEXT NOT NULL UNIQUE,
    ended_at INTEGER NOT NULL
) STRICT;

-- The heads that scopes had then.
CREATE TABLE holdfast_epoch_head (
    number INTEGER NOT NULL,
    scope  TEXT NOT NULL,
    head   INTEGER NOT NULL,
    PRIMARY KEY (number, scope)
) STRICT, WITHOUT ROWID;

-- The number of the epoch that a replica comes from, whose end has made it offer again; 0: none.
ALTER TABLE holdfast_replica ADD COLUMN origin_epoch INTEGER NOT NULL DEFAULT 0;
