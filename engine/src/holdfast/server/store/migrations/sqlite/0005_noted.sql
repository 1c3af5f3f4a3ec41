-- Whom the notes of direct writes concern: a row for each scope of each row that was written; '*': anybody.
CREATE TABLE holdfast_noted (
    tbl   TEXT NOT NULL,
    key   TEXT NOT NULL,
    scope TEXT NOT NULL,
    PRIMARY KEY (tbl, key, scope)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_noted_scope ON holdfast_noted (scope);
