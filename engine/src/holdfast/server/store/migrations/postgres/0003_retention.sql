-- What is needed to forget in time.

-- floor: removals at or below this version may have been forgotten.
ALTER TABLE holdfast_scope ADD COLUMN floor bigint NOT NULL DEFAULT 0;
CREATE INDEX holdfast_feed_removed ON holdfast_feed (scope, version) WHERE removed;
CREATE INDEX holdfast_row_gone ON holdfast_row (tbl, key) WHERE image IS NOT NULL;

-- at: a moment at which this was the newest, so that it and all before are at least as old.
ALTER TABLE holdfast_commit ADD COLUMN at bigint;
CREATE INDEX holdfast_commit_mark ON holdfast_commit (scope, version) WHERE at IS NOT NULL;
ALTER TABLE holdfast_applied ADD COLUMN at bigint;
CREATE INDEX holdfast_applied_mark ON holdfast_applied (device, number) WHERE at IS NOT NULL;

-- When each job of maintenance was last done, by whichever process.
CREATE TABLE holdfast_job (
    name text COLLATE "C" PRIMARY KEY,
    at   bigint NOT NULL
);
