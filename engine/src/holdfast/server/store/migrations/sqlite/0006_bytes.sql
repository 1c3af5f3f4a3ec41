-- Bytes of rows: of each in each of its scopes, and of all of a scope. Older rows count from their next change on.
ALTER TABLE holdfast_feed ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE holdfast_scope ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
