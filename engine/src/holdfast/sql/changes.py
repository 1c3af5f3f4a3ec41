"""The tables of notes: one row for each (group, key), in native SQLite values.

Knows: ``holdfast_change_<table>``, which holds the outbox of a replica, and on the embedded server
what direct writes changed. Must not know: who fills it.

``was`` and ``now`` say whether the row existed before and after its group; ``o_`` columns are its
values before, ``n_`` columns after. ``now`` NULL: unknown until it is looked up (the server only).
"""

from __future__ import annotations

from holdfast.core.values import STORAGE
from holdfast.schema.model import Table
from holdfast.sql.names import change_table, quote

NOT_ASCII = "'*[^' || char(1) || '-' || char(127) || ']*'"
"""What texts match GLOB that are not plain ASCII; quoted for SQL."""


def old_names(table: Table) -> list[str]:
    return [f"o_{column.name}" for column in table.data_columns]


def new_names(table: Table) -> list[str]:
    return [f"n_{column.name}" for column in table.data_columns]


def create_change_table(table: Table) -> list[str]:
    """The table of notes: appended to, found by key and by group."""
    body = "".join(f", {quote(name)} ANY" for name in (*old_names(table), *new_names(table)))
    name = change_table(table)
    return [
        (
            f"CREATE TABLE {name} (tx INTEGER NOT NULL, key TEXT NOT NULL, "
            "was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT"
            f"{body}, UNIQUE (key, tx)) STRICT"
        ),
        f"CREATE INDEX {quote(f'holdfast_by_tx_{table.name}')} ON {name} (tx)",
    ]


def create_makers_index(table: Table) -> str:
    """Return which groups inserted or deleted a row: found past any number of updates."""
    return (
        f"CREATE INDEX {quote(f'holdfast_makers_{table.name}')} "
        f"ON {change_table(table)} (key, tx) WHERE was <> now"
    )


def _texts(table: Table) -> list[str]:
    """The columns of a note that may hold any text, the key first."""
    data = [c.name for c in table.data_columns if STORAGE[c.type] == "TEXT"]
    return ["key", *(f"o_{name}" for name in data), *(f"n_{name}" for name in data)]


def odd_texts(table: Table) -> str:
    """Of the groups from ? on: rowid, group, and the bytes of all texts, of notes where one is not
    plain ASCII. Whether they are UTF-8 is for the host to see: SQLite's built-ins cannot."""
    texts = [quote(name) for name in _texts(table)]
    odd = " OR ".join(f"(typeof({n}) = 'text' AND {n} GLOB {NOT_ASCII})" for n in texts)
    parts = ", ".join(f"CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) END" for n in texts)
    return f"SELECT rowid, tx, {parts} FROM {change_table(table)} WHERE tx >= ? AND ({odd})"


def mend_texts(table: Table) -> str:
    """Keep texts that nobody can read as bytes: parameters are another text for the key (NULL: it
    is readable), a flag for each other text, and the rowid.

    A note with such a key stays a change, so that it is refused and not forgotten.
    """
    key, *texts = (quote(name) for name in _texts(table))
    sets = [f"{key} = coalesce(?1, {key})", "now = CASE WHEN ?1 IS NULL THEN now ELSE 1 - was END"]
    sets += [
        f"{name} = CASE WHEN ?{number} THEN CAST({name} AS BLOB) ELSE {name} END"
        for number, name in enumerate(texts, start=2)
    ]
    return f"UPDATE {change_table(table)} SET {', '.join(sets)} WHERE rowid = ?{len(texts) + 2}"
