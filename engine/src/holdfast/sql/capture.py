"""Capture: triggers that note every change of a synced table, whoever writes.

Knows: which triggers see what, and when. Must not know: sealing or merging.
Upholds I2: data and its note are one transaction.

What a trigger notes is for a ``NoteWriter`` to say. A replica appends to a log
(``LoggedNotes``, see ``sql.log``); the embedded server, which has no use for an order, keeps one
row for each key (``FoldedNotes``).

``INSERT OR REPLACE`` and ``UPDATE OR REPLACE`` delete rows without firing delete triggers; so
BEFORE triggers note the rows that would go, and what became of them is seen later. An outer
``OR REPLACE`` also overrides conflict clauses inside triggers, but not upserts (see
https://sqlite.org/lang_createtrigger.html); so notes are written by upserts, or where nothing can
conflict.

Only built-ins of SQLite 3.40 are used, so that any SQLite tool may write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from holdfast.core.values import STORAGE
from holdfast.schema.model import Column, Table
from holdfast.sql.changes import new_names, old_names
from holdfast.sql.names import change_table, key_match, key_sql, literal, names, quote
from holdfast.sql.note_scopes import may_move, note_scopes

LOG = "holdfast_log"

_QUIET = "(SELECT applying FROM holdfast_state) = 0"
_GROUP = "(SELECT open_tx FROM holdfast_state)"


class NoteWriter(Protocol):
    """The statements by which triggers note a change."""

    def endangered(self, table: Table, match: str) -> str:
        """Note the rows ``t`` that ``match``: they are replaced now, or stay."""

    def inserted(self, table: Table) -> str: ...

    def updated(self, table: Table) -> str: ...

    def deleted(self, table: Table) -> str: ...


def _incoming(table: Table, name: str) -> str:
    """Return what a statement is about to write: ``OR REPLACE`` puts the default in place of a
    NULL that is not allowed, after the BEFORE triggers have seen the NULL."""
    column = table.by_name[name]
    default = column.default_value()
    new = f"NEW.{quote(name)}"
    if column.nullable or default is None:
        return new
    return f"coalesce({new}, {literal(default)})"


def triggers(
    table: Table, fingerprint: str, notes: NoteWriter, *, mostly_quiet: bool = False
) -> dict[str, str]:
    """The capture triggers of a table: name to SQL. The SQL carries the schema's fingerprint.

    ``mostly_quiet``: most writes are the engine's own.
    """
    stem = f"holdfast_{table.name}"
    on = f"ON {quote(table.name)}"
    stamp = f"/* holdfast {fingerprint} */"
    result: dict[str, str] = {}

    def add(name: str, event: str, when: str, body: str) -> None:
        result[f"{stem}_{name}"] = (
            f"CREATE TRIGGER {quote(f'{stem}_{name}')} {event} {on} "
            f"WHEN {when} BEGIN {stamp} {body} END"
        )

    def same(columns: Iterable[str]) -> str:
        return " AND ".join(f"t.{quote(name)} = {_incoming(table, name)}" for name in columns)

    def some(match: str) -> str:
        # Asked first is what mostly says no.
        found = f"EXISTS (SELECT 1 FROM {quote(table.name)} AS t WHERE {match})"
        return f"{_QUIET} AND {found}" if mostly_quiet else f"{found} AND {_QUIET}"

    for number, columns in enumerate((table.key, *table.unique)):
        match = same(columns)
        body = notes.endangered(table, match)
        add(f"before_insert_{number}", "BEFORE INSERT", some(match), body)
    for number, columns in enumerate(table.unique, start=1):
        match = same(columns)
        body = notes.endangered(table, f"{match} AND NOT ({key_match(table, 't.', 'NEW.')})")
        add(f"before_update_{number}", f"BEFORE UPDATE OF {names(columns)}", some(match), body)
    changed = " OR ".join(f"OLD.{quote(name)} IS NOT NEW.{quote(name)}" for name in table.key)
    # A single integer key is SQLite's rowid, which can be updated under names that are not
    # declared.
    rowid = len(table.key) == 1 and STORAGE[table.key_columns[0].type] == "INTEGER"
    add(
        "key",
        "BEFORE UPDATE" if rowid else f"BEFORE UPDATE OF {names(table.key)}",
        changed,
        f"SELECT RAISE(ABORT, 'holdfast: the key of {table.name} never changes');",
    )
    add("after_insert", "AFTER INSERT", _QUIET, notes.inserted(table))
    data = [column.name for column in table.data_columns]
    if data:
        add("after_update", f"AFTER UPDATE OF {names(data)}", _QUIET, notes.updated(table))
    add("after_delete", "AFTER DELETE", _QUIET, notes.deleted(table))
    return result


_MINE = "total_changes(), julianday('now')"
"""How much the connection has changed until this statement, and the statement's moment: they tell
connections apart. One connection's count never falls, and stays only within one statement, which
has one moment."""
_EDGE = (
    f"INSERT INTO {LOG} (tbl, was) SELECT '', 1 FROM (SELECT tbl, mine, now FROM {LOG} "
    "ORDER BY seq DESC LIMIT 1) AS l WHERE l.tbl <> '' AND (l.mine > total_changes() "
    "OR (l.mine = total_changes() AND l.now <> julianday('now')));"
)
"""End the group of another connection: it is told apart from what is written behind it, in a copy
of the file as here. Nobody's transaction is cut, for they do not overlap."""


class LoggedNotes:
    """One row of the log for each touch: the row's key, its values before the touch, a salt, and
    whose it is.

    What came after is not noted: the next touch of that row says it, or the table itself.
    """

    def __init__(self, columns: Iterable[str]) -> None:
        """``columns``: of the log, in order, for a row's key and then its data."""
        self._columns = tuple(columns)

    def _append(self, table: Table, was: int, values: list[str]) -> str:
        into = ", ".join(("tbl", "was", "salt", "mine", "now", *self._columns[: len(values)]))
        return (
            f"{_EDGE} INSERT INTO {LOG} ({into}) SELECT {literal(table.name)}, {was}, random(), "
            f"{_MINE}, {', '.join(values)}"
        )

    def _whole(self, table: Table, row: str) -> list[str]:
        wanted = (*table.key, *(column.name for column in table.data_columns))
        return [f"{row}.{quote(name)}" for name in wanted]

    def endangered(self, table: Table, match: str) -> str:
        rows = f"FROM {quote(table.name)} AS t WHERE {match}"
        return f"{self._append(table, 1, self._whole(table, 't'))} {rows};"

    def inserted(self, table: Table) -> str:
        return f"{self._append(table, 0, [f'NEW.{quote(name)}' for name in table.key])};"

    def updated(self, table: Table) -> str:
        return f"{self._append(table, 1, self._whole(table, 'OLD'))};"

    def deleted(self, table: Table) -> str:
        return self.updated(table)


def _noted(table: Table, prefix: str, rows: str = "") -> str:
    """Note whom a row concerns; ``rows``: FROM and WHERE of several."""

    def text(column: Column) -> str:
        value = f"{prefix}{quote(column.name)}"
        return f"lower(hex({value}))" if STORAGE[column.type] == "BLOB" else value

    key = key_sql(table, prefix)
    return " ".join(
        f"INSERT INTO holdfast_noted (tbl, key, scope) SELECT {literal(table.name)}, {key}, "
        f"{scope} {rows or 'WHERE true'} ON CONFLICT DO NOTHING;"
        for scope in note_scopes(table, text, literal)
    )


class FoldedNotes:
    """One row of the table's notes for each (group, key): its values before and after; and beside
    it whom it concerns."""

    def endangered(self, table: Table, match: str) -> str:
        into = names(("tx", "key", "was", "now", "base", *old_names(table)))
        key = key_sql(table, "t.")
        data = "".join(f", t.{quote(column.name)}" for column in table.data_columns)
        return (
            f"INSERT INTO {change_table(table)} ({into}) "
            f"SELECT {_GROUP}, {key}, 1, NULL, {_base(table, key)}{data} "
            f"FROM {quote(table.name)} AS t WHERE {match} "
            "ON CONFLICT (key, tx) DO UPDATE SET now = NULL; "
            f"{_noted(table, 't.', f'FROM {quote(table.name)} AS t WHERE {match}')}"
        )

    def inserted(self, table: Table) -> str:
        into = names(("tx", "key", "was", "now", *new_names(table)))
        data = "".join(f", NEW.{quote(column.name)}" for column in table.data_columns)
        return (
            f"INSERT INTO {change_table(table)} ({into}) "
            f"VALUES ({_GROUP}, {key_sql(table, 'NEW.')}, 0, 1{data}) "
            f"ON CONFLICT (key, tx) DO UPDATE SET now = 1{_set_new(table)}; "
            f"{_noted(table, 'NEW.')}"
        )

    def updated(self, table: Table) -> str:
        into = names(("tx", "key", "was", "now", "base", *old_names(table), *new_names(table)))
        key = key_sql(table, "NEW.")
        data = [column.name for column in table.data_columns]
        return (
            f"INSERT INTO {change_table(table)} ({into}) "
            f"VALUES ({_GROUP}, {key}, 1, 1, {_base(table, key)}, "
            f"{names(data, 'OLD.')}, {names(data, 'NEW.')}) "
            f"ON CONFLICT (key, tx) DO UPDATE SET now = 1{_set_new(table)}; "
            f"{_noted(table, 'OLD.')} {_noted(table, 'NEW.') if may_move(table) else ''}"
        )

    def deleted(self, table: Table) -> str:
        into = names(("tx", "key", "was", "now", "base", *old_names(table)))
        key = key_sql(table, "OLD.")
        data = "".join(f", OLD.{quote(column.name)}" for column in table.data_columns)
        clear = "".join(f", {quote(name)} = NULL" for name in new_names(table))
        return (
            f"INSERT INTO {change_table(table)} ({into}) "
            f"VALUES ({_GROUP}, {key}, 1, 0, {_base(table, key)}{data}) "
            f"ON CONFLICT (key, tx) DO UPDATE SET now = 0{clear}; {_noted(table, 'OLD.')}"
        )


def _base(table: Table, key: str) -> str:
    """The row's revision as last applied, 0 when the server has never sent it."""
    return f"coalesce((SELECT rev FROM holdfast_row WHERE tbl = '{table.name}' AND key = {key}), 0)"


def _set_new(table: Table) -> str:
    """``n_c = excluded.n_c`` for each data column; for a key-only table nothing."""
    return "".join(f", {quote(name)} = excluded.{quote(name)}" for name in new_names(table))
