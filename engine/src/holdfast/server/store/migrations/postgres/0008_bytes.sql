-- Bytes of rows: of each in each of its scopes, and of all of a scope. Older rows count from their next change on.
ALTER TABLE holdfast_feed ADD COLUMN size bigint NOT NULL DEFAULT 0;
ALTER TABLE holdfast_scope ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
