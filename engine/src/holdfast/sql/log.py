"""The log: what has been written to a replica's tables and not yet been made into messages.

Knows: how the log is laid out, and how it is read. Must not know: who writes, or what is sent.
Upholds I2 (a note is one append, in the writer's own transaction) and I16: a mark ends what was
committed together.

A note is a row's key and its values before it was touched (``was`` 0: there was no row). So the
values after a touch are those that the next note of the same row has, or, after the last one, the
row itself. That holds as long as nobody writes unnoticed: before news are applied, the whole log is
made into notes of the outbox (``replica.changes.seal``); a trigger refuses to keep capture quiet
before.

Each note has a ``salt``, 64 random bits that its trigger has drawn: a group's id is made from it,
so that a copy of the file seals what it holds under the same ids (I7). What other programs wrote
has the time of its last note, too, for where it ends is for each copy to find.

Columns of the log are shared by all tables: ``c0`` and on are the key's columns and then the data
columns of the row, in native SQLite values. A mark has no table, but a time stamp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.core.values import STORAGE
from holdfast.schema.model import Schema, Table
from holdfast.sql.capture import LOG, LoggedNotes
from holdfast.sql.changes import new_names, old_names
from holdfast.sql.names import change_table, key_sql, literal, names, quote
from holdfast.sql.unfit import is_odd

MARK = (
    f"INSERT INTO {LOG} (tbl, at, was) SELECT '', ?1, ?2 "
    f"WHERE (SELECT tbl FROM {LOG} ORDER BY seq DESC LIMIT 1) <> '' RETURNING seq"
)
"""End the open group, if there is one: parameters are its time, and 1 when other programs wrote it;
its place in the log."""

GUARD = (
    "CREATE TRIGGER holdfast_log_sealed BEFORE UPDATE OF applying ON holdfast_state "
    f"WHEN NEW.applying AND EXISTS (SELECT 1 FROM {LOG}) BEGIN "
    "SELECT RAISE(ABORT, 'holdfast: the log must be sealed before anything is applied'); END"
)
"""Nobody writes unnoticed past the log."""


def _moment(note: str) -> str:
    """The moment at which a note was written, in microseconds since 1970, as its writer's SQLite
    told it (to the millisecond)."""
    return f"CAST(round(({note}.now - 2440587.5) * 86400000.0) AS INTEGER) * 1000"


MARKS = (
    "SELECT m.seq, coalesce(CASE WHEN m.was THEN "
    f"{_moment('n')} END, m.at, (SELECT min(l.at) FROM {LOG} AS l WHERE l.seq > m.seq)), m.was, "
    f"n.salt FROM {LOG} AS m LEFT JOIN {LOG} AS n ON n.seq = "
    f"(SELECT max(l.seq) FROM {LOG} AS l WHERE l.seq < m.seq) "
    "WHERE m.tbl = '' ORDER BY m.seq"
)
"""Place, time, whether other programs wrote it, and salt of each group that is ended. What other
programs wrote has the moment of its last note, which is the same in each copy of the file; when it
is ended differs between them."""
LOG_VIEW = "holdfast_logged"
_NOTES = "tbl <> ''"
GROUPS = f"SELECT count(DISTINCT tx) FROM {LOG_VIEW}"

TABLES = f"SELECT DISTINCT tbl FROM {LOG} WHERE tbl <> ''"
LAST = f"SELECT l.seq, l.tbl, l.salt, {_moment('l')} FROM {LOG} AS l ORDER BY l.seq DESC LIMIT 1"
"""Place, table, salt and moment of what was noted last."""
TABLES_AFTER = f"SELECT DISTINCT tbl FROM {LOG} WHERE seq > ? AND tbl <> ''"
FIRST = f"SELECT min(at) FROM {LOG} WHERE tbl = ''"
COUNT = f"SELECT count(*) FROM {LOG_VIEW}"
EMPTY = f"DELETE FROM {LOG}"


def log_columns(schema: Schema) -> list[str]:
    """The columns for a row's key and data: as many as the widest table has."""
    return [f"c{number}" for number in range(max(len(t.columns) for t in schema.all_tables))]


def create_log(schema: Schema) -> str:
    """The log: a table that is only appended to, without an index."""
    values = "".join(f", {name} ANY" for name in log_columns(schema))
    return (
        f"CREATE TABLE {LOG} (seq INTEGER PRIMARY KEY, tbl TEXT NOT NULL, "
        f"was INTEGER, at INTEGER, salt INTEGER, mine INTEGER, now REAL{values}) STRICT"
    )


def notes(schema: Schema) -> LoggedNotes:
    """Return what the capture triggers of a replica write."""
    return LoggedNotes(log_columns(schema))


def _key(table: Table, row: str) -> str:
    """The key's text, from the columns of the log."""
    return key_sql(table, row, [f"c{number}" for number in range(len(table.key))])


def _places(table: Table) -> list[str]:
    """The columns of the log that hold a table's data columns."""
    first = len(table.key)
    return [f"c{number}" for number in range(first, first + len(table.data_columns))]


def _edges(condition: str, keys: Sequence[str]) -> str:
    """Of the log's notes, the first of each group and row, with its group, and where the next group
    that touched the row did so first (``later``). ``keys``: what tells rows apart, as named here.

    ``tx`` is the number that a group will have if all before it have a net change.
    """
    listed = "".join(f", {part} AS k{number}" for number, part in enumerate(keys))
    parts = ", ".join(f"k{number}" for number in range(len(keys)))
    touches = f"WINDOW touches AS (PARTITION BY tbl, {parts} ORDER BY seq)"
    return (
        f"WITH grouped AS (SELECT seq, tbl, was{listed}, (SELECT open_tx FROM holdfast_state) "
        f"+ sum(tbl = '') OVER (ORDER BY seq) AS tx FROM {LOG}), "
        f"noted AS (SELECT seq, tbl, was, {parts}, tx, lag(tx) OVER touches AS earlier "
        f"FROM grouped WHERE {condition} {touches}), "
        "edges AS (SELECT seq, tbl, was, tx, lead(seq) OVER touches AS later "
        f"FROM noted WHERE earlier IS NOT tx {touches})"
    )


def fold(table: Table) -> str:
    """Make the log's notes of a table into notes of the outbox: the net change of each row that a
    group has changed."""
    old, new, places = old_names(table), new_names(table), _places(table)
    keys = [f"c{number}" for number in range(len(table.key))]
    row = " AND ".join(
        f"t.{quote(name)} = o.{place}" for name, place in zip(table.key, keys, strict=True)
    )
    before = "".join(
        f", o.{place} AS {quote(name)}" for place, name in zip(places, old, strict=True)
    )
    after = "".join(
        f", CASE WHEN e.later IS NULL THEN t.{quote(column.name)} ELSE n.{place} END "
        f"AS {quote(name)}"
        for column, place, name in zip(table.data_columns, places, new, strict=True)
    )
    same = "".join(f" AND {quote(o)} IS {quote(n)}" for o, n in zip(old, new, strict=True))
    comma = ", " if old else ""
    values = names((*old, *new))
    base = (
        "CASE WHEN was THEN coalesce((SELECT rev FROM holdfast_row AS r "
        f"WHERE r.tbl = {literal(table.name)} AND r.key = v.key), 0) ELSE 0 END"
    )
    return (
        f"{_edges(f'tbl = {literal(table.name)}', keys)} "
        f"INSERT INTO {change_table(table)} (tx, key, was, now, base{comma}{values}) "
        f"SELECT tx, key, was, now, {base}{comma}{values} FROM ("
        f"SELECT e.tx AS tx, {_key(table, 'o.')} AS key, e.was AS was, "
        f"CASE WHEN e.later IS NULL THEN t.{quote(table.key[0])} IS NOT NULL ELSE n.was END AS now"
        f"{before}{after} FROM edges AS e CROSS JOIN {LOG} AS o ON o.seq = e.seq "
        f"LEFT JOIN {LOG} AS n ON n.seq = e.later "
        f"LEFT JOIN {quote(table.name)} AS t ON e.later IS NULL AND {row}"
        f") AS v WHERE NOT (was = now{same})"
    )


def weight(table: Table) -> str:
    """Return how large the notes of a table after a place in the log (parameter) can be as a
    message, in bytes, at most: values before and after, and what stands around them; and 1 where
    a host has to look at values (``sql.unfit``)."""
    places = [*(f"c{number}" for number in range(len(table.key))), *_places(table)]
    columns = [*table.key_columns, *table.data_columns]
    texts = [
        f"coalesce(length({row}), 0)"
        for column, place in zip(columns, places, strict=True)
        if STORAGE[column.type] in ("TEXT", "BLOB")
        for row in (f"o.{place}", f"t.{quote(column.name)}")
    ]
    around = 200 + sum(2 * (len(column.name) + 30) for column in columns)
    row = " AND ".join(f"t.{quote(n)} = o.c{number}" for number, n in enumerate(table.key))
    return (
        f"SELECT count(*) * {around} + 6 * coalesce(sum({' + '.join(texts) or '0'}), 0), "
        f"coalesce(max({is_odd(table)}), 0) "
        f"FROM {LOG} AS o LEFT JOIN {quote(table.name)} AS t ON {row} "
        f"WHERE o.seq > ? AND o.tbl = {literal(table.name)}"
    )


def create_log_view(schema: Schema) -> str:
    """The net changes that the log stands for, without their values: number, table, key, whether
    the row was and is. One pass, however many tables there are.

    ``found`` is what became of the row: NULL: gone; 2: it is as it was; 1: it is otherwise.
    """
    tables = schema.all_tables
    widest = max(len(table.key) for table in tables)
    keys = ["c0"]
    for number in range(1, widest):
        having = ", ".join(literal(t.name) for t in tables if len(t.key) > number)
        keys.append(f"CASE WHEN tbl IN ({having}) THEN c{number} END")

    def by_table(expression: Callable[[Table], str]) -> str:
        cases = " ".join(f"WHEN {literal(t.name)} THEN {expression(t)}" for t in tables)
        return f"CASE e.tbl {cases} END"

    def stands(table: Table) -> str:
        data = zip(table.data_columns, _places(table), strict=True)
        same = " AND ".join(f"t.{quote(c.name)} IS o.{place}" for c, place in data) or "1"
        row = " AND ".join(f"t.{quote(n)} = o.c{number}" for number, n in enumerate(table.key))
        return f"(SELECT 1 + ({same}) FROM {quote(table.name)} AS t WHERE {row})"

    same = " AND ".join(f"o.{column} IS n.{column}" for column in log_columns(schema))
    return (
        f"CREATE VIEW {LOG_VIEW} AS {_edges(_NOTES, keys)} "
        "SELECT tx, tbl, key, was, found IS NOT NULL AS now FROM ("
        f"SELECT e.tx AS tx, e.tbl AS tbl, {by_table(lambda t: _key(t, 'o.'))} AS key, "
        f"e.was AS was, CASE WHEN e.later IS NULL THEN {by_table(stands)} "
        f"WHEN n.was THEN 1 + ({same}) END AS found "
        f"FROM edges AS e CROSS JOIN {LOG} AS o ON o.seq = e.seq "
        f"LEFT JOIN {LOG} AS n ON n.seq = e.later) "
        "WHERE CASE WHEN was THEN found IS NOT 2 ELSE found IS NOT NULL END"
    )


def log_keys(table: Table) -> str:
    """Keys of the rows that the log has notes of."""
    return f"SELECT DISTINCT {_key(table, 'l.')} FROM {LOG} AS l WHERE tbl = {literal(table.name)}"
