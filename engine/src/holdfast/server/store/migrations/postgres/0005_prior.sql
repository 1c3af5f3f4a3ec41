-- The revision that a record's last write was based on (0: none). One statement writes new records and
-- changed ones, each only if what was read still stands, and always by the primary key: a join would be
-- planned by statistics, which are wrong in a table that has just grown.
ALTER TABLE holdfast_row ADD COLUMN prior bigint NOT NULL DEFAULT 0;
