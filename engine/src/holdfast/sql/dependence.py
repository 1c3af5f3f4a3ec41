"""Dependence of an outbox's changes on each other, as SQL over its notes.

Knows: notes, keys as texts, foreign keys and unique keys. Must not know: which transactions are
unsettled, or what is made of the pairs. What rests on a value of the same column, or on a row's
existence, is seen by reading a row's notes in order (``replica.dependence``); here is what passes
from one row to another.

Each statement takes three parameters and gives pairs: the transaction and key of a change of the
transactions from ``?1`` to ``?2``, then those of what it has to do with: in earlier transactions
(``?3`` = 0: it rests on them), or in the same one (``?3`` = 1: they belong together).
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.core.values import STORAGE
from holdfast.schema.model import ForeignKey, Table
from holdfast.sql.names import change_table, quote

_PAIR = "SELECT c.tx, c.key, p.tx, p.key"
_RANGE = "c.tx BETWEEN ?1 AND ?2 AND p.tx BETWEEN c.tx * ?3 AND c.tx - 1 + ?3"


def made(parent: Table, child: Table, key: ForeignKey) -> str:
    """A reference to a row that another change inserts; within a transaction, also to one that it
    changes otherwise.

    Who inserted the row is found by an index of those, past any number of its updates.
    """
    refers = (
        f"{_PAIR} FROM {change_table(child)} AS c "
        f"JOIN {change_table(parent)} AS p ON p.key = {_parent_key(parent, child, key, 'c', 'n_')} "
        f"WHERE {_RANGE} AND c.now = 1"
    )
    return (
        f"{refers} AND ?3 = 0 AND p.was <> p.now AND p.was = 0 "
        f"AND (c.was = 0 OR {_moved(child, key.columns, 'c.')}) UNION ALL {refers} AND ?3 = 1"
    )


def released(parent: Table, child: Table, key: ForeignKey) -> str:
    """The delete of a row that another change no longer refers to."""
    # Mostly nothing is deleted: that is asked once and first. With "+" no index is made for it.
    deletes = (
        f"SELECT 1 FROM {change_table(parent)} WHERE tx BETWEEN ?1 AND ?2 AND +now = 0 LIMIT 1"
    )
    return (
        f"{_PAIR} FROM ({deletes}) CROSS JOIN {change_table(child)} AS p "
        f"CROSS JOIN {change_table(parent)} AS c "
        f"ON c.key = {_parent_key(parent, child, key, 'p', 'o_')} "
        f"WHERE {_RANGE} AND c.was = 1 AND c.now = 0 AND p.was = 1 "
        f"AND (p.now = 0 OR {_moved(child, key.columns, 'p.')})"
    )


def create_freed_indexes(table: Table) -> list[str]:
    """Changes that give up a unique value, by the value: found past any number of other changes.
    The condition is that of ``freed``, word for word."""
    indexes = []
    for number, columns in enumerate(table.unique):
        data = [name for name in columns if name not in table.key]
        if data:
            values = ", ".join(quote("o_" + name) for name in data)
            indexes.append(
                f"CREATE INDEX {quote(f'holdfast_freed_{number}_{table.name}')} "
                f"ON {change_table(table)} ({values}) WHERE {_gives_up(table, columns)}"
            )
    return indexes


def _gives_up(table: Table, columns: tuple[str, ...], row: str = "") -> str:
    """Return whether a change takes its values of some columns from the row."""
    return f"{row}was = 1 AND ({row}now = 0 OR {_moved(table, columns, row)})"


def freed(table: Table, columns: tuple[str, ...]) -> str:
    """A unique value that another row has given up; empty where it is the key."""
    if set(columns) <= set(table.key):
        return ""
    change = change_table(table)
    match = " AND ".join(
        f"{note_text(table, n, 'p', 'o_')} = {note_text(table, n, 'c', 'n_')}"
        if n in table.key
        else f"p.{quote('o_' + n)} = c.{quote('n_' + n)}"
        for n in columns
    )
    return (
        f"{_PAIR} FROM {change} AS c CROSS JOIN {change} AS p ON {match} "
        f"WHERE {_RANGE} AND p.key <> c.key "
        f"AND c.now = 1 AND (c.was = 0 OR {_moved(table, columns, 'c.')}) "
        f"AND {_gives_up(table, columns, 'p.')}"
    )


def _moved(table: Table, columns: Iterable[str], row: str) -> str:
    """Return whether an update gives some of these columns other values; keys never change."""
    data = [name for name in columns if name not in table.key]
    return (
        "("
        + (
            " OR ".join(f"{row}{quote('o_' + n)} IS NOT {row}{quote('n_' + n)}" for n in data)
            or "0"
        )
        + ")"
    )


def _parent_key(parent: Table, child: Table, key: ForeignKey, row: str, side: str) -> str:
    """The text of the parent's key that a child's note refers to, before (``o_``) or after
    (``n_``) it."""
    composite = len(parent.key) > 1
    parts = []
    for name in key.columns:
        text = note_text(child, name, row, side)
        escaped = _escaped(child, name)
        if composite and not escaped:
            text = f"replace(replace({text}, '%', '%25'), '/', '%2F')"
        elif escaped and not composite:
            text = f"replace(replace({text}, '%2F', '/'), '%25', '%')"
        parts.append(text)
    return " || '/' || ".join(parts)


def _escaped(table: Table, name: str) -> bool:
    """Return whether ``note_text`` gives a part of a composite key, with its escapes."""
    return name in table.key and len(table.key) > 1


def note_text(table: Table, name: str, row: str, side: str) -> str:
    """The text, as keys have it, of a column of the row that the note ``row`` is about."""
    if _escaped(table, name):
        # The parts of a key are parted by "/", and by no other "/": so it is an array, nearly.
        array = f"""'[' || replace(json_quote({row}.key), '/', '","') || ']'"""
        return f"json_extract({array}, '$[{table.key.index(name)}]')"
    if name in table.key:
        return f"{row}.key"
    value = f"{row}.{quote(side + name)}"
    storage = STORAGE[table.by_name[name].type]
    if storage == "BLOB":
        return f"lower(hex({value}))"
    return value if storage == "TEXT" else f"CAST({value} AS TEXT)"
