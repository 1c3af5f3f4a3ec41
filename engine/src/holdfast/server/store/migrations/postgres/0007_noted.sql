-- Whom a note of a direct write concerns: a note for each scope of the row; '*': anybody.
ALTER TABLE holdfast_dirty ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT '*';
CREATE INDEX holdfast_dirty_scope ON holdfast_dirty (scope, number);
CREATE INDEX holdfast_dirty_row ON holdfast_dirty (tbl, key);
