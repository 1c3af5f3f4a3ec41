-- In which scopes the rows of journal entries are: whoever reads the journal reads what is theirs, and
-- not past what is not.
CREATE TABLE holdfast_journal_scope (
    scope  TEXT NOT NULL,
    number INTEGER NOT NULL,
    tbl    TEXT NOT NULL,
    PRIMARY KEY (scope, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdfast_journal_scope_tbl ON holdfast_journal_scope (scope, tbl, number);
CREATE INDEX holdfast_journal_scope_number ON holdfast_journal_scope (number);
INSERT INTO holdfast_journal_scope (scope, number, tbl)
SELECT DISTINCT f.scope, j.number, j.tbl FROM holdfast_scope AS s CROSS JOIN holdfast_journal AS j
CROSS JOIN holdfast_feed AS f ON f.scope = s.scope AND f.tbl = j.tbl AND f.key = j.key;
