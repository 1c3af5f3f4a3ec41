-- Epochs that have ended, because what devices had seen of them was lost; the first one is number 1.
CREATE TABLE holdfast_epoch (
    number   bigint PRIMARY KEY,
    epoch    text COLLATE "C" NOT NULL UNIQUE,
    ended_at bigint NOT NULL
);

-- The heads that scopes had then.
CREATE TABLE holdfast_epoch_head (
    number bigint NOT NULL,
    scope  text COLLATE "C" NOT NULL,
    head   bigint NOT NULL,
    PRIMARY KEY (number, scope)
);

-- The number of the epoch that a replica comes from, whose end has made it offer again; 0: none.
ALTER TABLE holdfast_replica ADD COLUMN origin_epoch bigint NOT NULL DEFAULT 0;
