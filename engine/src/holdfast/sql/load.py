"""The statements that take a snapshot file into a replica, set by set.

Knows: the layout of a snapshot file, and the replica's tables. Must not know: how a file came, or
when a statement is run.
A file that is looked at is a database of its own; one that is imported is attached. Several may be,
under names of the host's choice: while a table of one is imported, the view ``holdfast_loading``
shows it (``loading_view``), and the statements read that.

Rows of a file that meet something of the replica's are noted in a temporary table with what is done
with them; all others are copied by three statements: rows, revisions, members.
"""

from __future__ import annotations

import msgspec

from holdfast.core.digest import HASH_BYTES
from holdfast.core.limits import IMPORT_ROWS_PER_STEP, ROWS_PER_LINE, WIRE_INTEGER_MAX
from holdfast.schema.model import Table
from holdfast.sql.names import key_match, key_sql, literal, names, quote

LOADING = "temp.holdfast_loading"
"""The view of the table that is imported: its rowid as ``holdfast_n``, then its columns."""
OWN = ("holdfast_key", "holdfast_rev", "holdfast_hash")
"""The columns of a snapshot's tables that come before the table's own."""
ABOUT = (
    "format", "epoch", "scope", "version", "count", "digest", "seal", "fingerprint", "generation",
)  # fmt: skip
"""The columns of its table ``holdfast_snapshot``, which says what it is."""

_MET = "temp.holdfast_met"
_KEYS = "temp.holdfast_keys"
KEEP, JOIN, WRITE = 0, 1, 2
"""What is done with a row that meets something: nothing, it becomes a member, or it is written like
a row of an answer."""
_NOT_JOINING = f"(SELECT n FROM {_MET} WHERE act <> {JOIN})"

LOAD_BEGIN = (
    f"CREATE TABLE {_MET} (n INTEGER PRIMARY KEY, act INTEGER NOT NULL)",
    f"CREATE TABLE {_KEYS} (key TEXT PRIMARY KEY) WITHOUT ROWID",
)
LOAD_END = (f"DROP TABLE {_KEYS}", f"DROP TABLE {_MET}")
LOAD_ABOUT = f"SELECT {names(ABOUT)} FROM holdfast_snapshot LIMIT 2"


class LoadProgram(msgspec.Struct, frozen=True):
    """Statements that check and import one table of a snapshot file."""

    look: str
    """In the file itself, of the rows behind a rowid: the last, how many, how many that are not
    what they should be, and their hashes in hex, end to end."""
    hashed: str
    """In the file itself, of the rows from behind a rowid to another, some: rowid, hash, key and
    values."""
    is_held: str
    """Whether the replica has any row of this table, shown or known."""
    steps: str
    """Of the rows behind a rowid: the first, the last, and how many are in one step."""
    copy: tuple[str, ...]
    """Copy the rows from one rowid to another: rows, revisions, members (the scope is the third
    parameter of the last)."""
    copy_rest: tuple[str, ...]
    """The same for those that meet nothing."""
    meet_known: str
    """Note the rows whose key the replica knows; the parameter is the scope."""
    meet_shown: str
    """Note the rows that the replica shows, though it knows nothing of them."""
    meet_touched: str
    """Note the rows with these keys, a JSON array."""
    meet_unique: tuple[str, ...]
    """For each unique key: note the rows whose values another row has."""
    keys: str
    """Note the keys that the file has."""
    departed: str
    """Keys of members of a scope, behind a key, that the file does not have."""
    sums: str
    """Count and hashes, in hex, of the rows from one rowid to another."""
    sums_rest: str
    """The same for those that become members without being written."""
    written: str
    """Rows behind a rowid that are written like those of an answer: rowid, key, revision, row."""


def loading_view(alias: str, table: Table) -> str:
    """Make the view of a table of the file that is attached under this name."""
    return (
        f"CREATE VIEW {LOADING} AS SELECT _rowid_ AS holdfast_n, * FROM {alias}.{quote(table.name)}"
    )


def load_program(table: Table) -> LoadProgram:
    """The statements of one table."""
    own, source, name = quote(table.name), LOADING, literal(table.name)
    columns = table.column_names
    between = f"FROM {source} AS f WHERE f.holdfast_n BETWEEN ?1 AND ?2"
    plain = f" AND f.holdfast_n NOT IN (SELECT n FROM {_MET})"
    joining = f" AND f.holdfast_n NOT IN {_NOT_JOINING}"
    sums = "SELECT count(*), coalesce(group_concat(hex(f.holdfast_hash), ''), '')"

    def copies(rows: str, members: str) -> tuple[str, ...]:
        return (
            (
                f"INSERT INTO main.{own} ({names(columns)}) SELECT {names(columns, 'f.')} "
                f"{between}{rows} ORDER BY f.holdfast_n"
            ),
            (
                "INSERT INTO main.holdfast_row (tbl, key, rev) SELECT "
                f"{name}, f.holdfast_key, f.holdfast_rev {between}{rows} ORDER BY f.holdfast_n"
            ),
            (
                "INSERT INTO main.holdfast_member (scope, tbl, key, hash) SELECT "
                f"?3, {name}, f.holdfast_key, f.holdfast_hash {between}{members} "
                "ORDER BY f.holdfast_n"
            ),
        )

    return LoadProgram(
        look=_look(table),
        hashed=f"SELECT _rowid_, holdfast_hash, holdfast_key, {names(columns)} "
        f"FROM {quote(table.name)} WHERE _rowid_ > ? AND _rowid_ <= ? "
        f"ORDER BY _rowid_ LIMIT {ROWS_PER_LINE}",
        is_held=f"SELECT EXISTS (SELECT 1 FROM main.{own}) "
        f"OR EXISTS (SELECT 1 FROM main.holdfast_row WHERE tbl = {name})",
        steps="SELECT min(n), max(n), count(*) FROM (SELECT holdfast_n AS n "
        f"FROM {source} WHERE holdfast_n > ? ORDER BY holdfast_n LIMIT {IMPORT_ROWS_PER_STEP})",
        copy=copies("", ""),
        copy_rest=copies(plain, joining),
        meet_known=f"INSERT INTO {_MET} SELECT f.holdfast_n, CASE "
        f"WHEN r.rev > f.holdfast_rev THEN {KEEP} WHEN r.rev < f.holdfast_rev THEN {WRITE} "
        f"WHEN m.hash IS NULL THEN {JOIN} WHEN m.hash = f.holdfast_hash THEN {KEEP} "
        f"ELSE {WRITE} END FROM {source} AS f CROSS JOIN main.holdfast_row AS r "
        f"ON r.tbl = {name} AND r.key = f.holdfast_key LEFT JOIN main.holdfast_member AS m "
        f"ON m.scope = ? AND m.tbl = {name} AND m.key = f.holdfast_key",
        meet_shown=f"INSERT OR IGNORE INTO {_MET} SELECT f.holdfast_n, {WRITE} FROM {source} AS f "
        f"CROSS JOIN main.{own} AS t ON {key_match(table, 't.', 'f.')}",
        meet_touched=f"INSERT OR IGNORE INTO {_MET} SELECT f.holdfast_n, {WRITE} "
        f"FROM {source} AS f WHERE f.holdfast_key IN (SELECT value FROM json_each(?))",
        meet_unique=tuple(
            f"INSERT OR IGNORE INTO {_MET} SELECT f.holdfast_n, {WRITE} FROM {source} AS f "
            f"CROSS JOIN main.{own} AS t ON "
            + " AND ".join(f"t.{quote(column)} = f.{quote(column)}" for column in unique)
            + f" WHERE NOT ({key_match(table, 't.', 'f.')})"
            for unique in table.unique
        ),
        keys=f"INSERT INTO {_KEYS} SELECT holdfast_key FROM {source} ORDER BY holdfast_n",
        departed=f"SELECT key FROM main.holdfast_member WHERE scope = ? AND tbl = {name} "
        f"AND key > ? AND key NOT IN (SELECT key FROM {_KEYS}) "
        f"ORDER BY key LIMIT {IMPORT_ROWS_PER_STEP}",
        sums=f"{sums} {between}",
        sums_rest=f"{sums} {between}{joining}",
        written=f"SELECT f.holdfast_n, f.holdfast_key, f.holdfast_rev, {names(columns, 'f.')} "
        f"FROM {_MET} AS x JOIN {source} AS f ON f.holdfast_n = x.n "
        f"WHERE x.act = {WRITE} AND x.n > ? ORDER BY x.n LIMIT {ROWS_PER_LINE}",
    )


def _look(table: Table) -> str:
    bad = (
        f"typeof(holdfast_key) <> 'text' OR holdfast_key IS NOT {key_sql(table)} "
        "OR typeof(holdfast_rev) <> 'integer' OR holdfast_rev NOT BETWEEN 1 AND "
        f"{literal(WIRE_INTEGER_MAX)} OR typeof(holdfast_hash) <> 'blob' "
        f"OR length(holdfast_hash) <> {HASH_BYTES}"
    )
    return (
        "SELECT max(n), count(*), coalesce(sum(bad), 0), coalesce(group_concat(hash, ''), '') "
        f"FROM (SELECT _rowid_ AS n, hex(holdfast_hash) AS hash, {bad} AS bad "
        f"FROM {quote(table.name)} WHERE _rowid_ > ? ORDER BY _rowid_ LIMIT {IMPORT_ROWS_PER_STEP})"
    )
