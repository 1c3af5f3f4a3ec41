-- In which scopes the rows of journal entries are: whoever reads the journal reads what is theirs, and
-- not past what is not.
CREATE TABLE holdfast_journal_scope (
    scope  text COLLATE "C" NOT NULL,
    number bigint NOT NULL REFERENCES holdfast_journal ON DELETE CASCADE,
    tbl    text COLLATE "C" NOT NULL,
    PRIMARY KEY (scope, number)
);
CREATE INDEX holdfast_journal_scope_tbl ON holdfast_journal_scope (scope, tbl, number);
CREATE INDEX holdfast_journal_scope_number ON holdfast_journal_scope (number);
INSERT INTO holdfast_journal_scope (scope, number, tbl)
SELECT DISTINCT f.scope, j.number, j.tbl FROM holdfast_journal AS j
JOIN holdfast_feed AS f ON f.tbl = j.tbl AND f.key = j.key;
