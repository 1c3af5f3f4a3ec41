-- What is needed to forget in time.

-- floor: removals at or below this version may have been forgotten.
ALTER TABLE holdfast_scope ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
CREATE INDEX holdfast_feed_removed ON holdfast_feed (scope, version) WHERE removed = 1;
CREATE INDEX holdfast_row_gone ON holdfast_row (tbl, key) WHERE image IS NOT NULL;

-- at: a moment at which this was the newest, so that it and all before are at least as old.
ALTER TABLE holdfast_commit ADD COLUMN at INTEGER;
CREATE INDEX holdfast_commit_mark ON holdfast_commit (scope, version) WHERE at IS NOT NULL;
ALTER TABLE holdfast_applied ADD COLUMN at INTEGER;
CREATE INDEX holdfast_applied_mark ON holdfast_applied (device, number) WHERE at IS NOT NULL;
CREATE INDEX holdfast_journal_at ON holdfast_journal (at);

-- When each job of maintenance was last done, by whichever process.
CREATE TABLE holdfast_job (
    name TEXT PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
