"""Capture: triggers that note every change of a synced table, whoever writes.

Knows: how a change becomes a row of ``holdfast_change_<table>``. Must not know: sealing or merging.
Upholds I2: data and its note are one transaction.

One row is kept for each (group, key): the row's values before its first touch in the group (``o_``)
and after its last (``n_``), with ``was`` and ``now`` saying whether the row existed. So a group of
changes is folded into one net change a row as it is made. The group is ``holdfast_state.open_tx``.

``INSERT OR REPLACE`` and ``UPDATE OR REPLACE`` delete rows without firing delete triggers; BEFORE
triggers note the rows that would go, with ``now`` NULL: unknown until it is looked up
(``unknown_keys``, ``look_up_unknown``). An outer ``OR REPLACE`` also overrides conflict clauses
inside triggers, but not upserts; so notes are written by upserts (see
https://sqlite.org/lang_createtrigger.html).

Only built-ins of SQLite 3.40 are used, so that any SQLite tool may write.
"""

from __future__ import annotations

from holdfast.core.values import STORAGE
from holdfast.schema.model import Table
from holdfast.sql.names import change_table, key_match, key_sql, literal, names, quote

_QUIET = "(SELECT applying FROM holdfast_state) = 0"
_NOT_ASCII = "'*[^' || char(1) || '-' || char(127) || ']*'"
_GROUP = "(SELECT open_tx FROM holdfast_state)"


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
            f"CREATE TABLE IF NOT EXISTS {name} (tx INTEGER NOT NULL, key TEXT NOT NULL, "
            "was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, "
            f"held INTEGER NOT NULL DEFAULT 0{body}, UNIQUE (key, tx)) STRICT"
        ),
        f"CREATE INDEX IF NOT EXISTS {quote(f'holdfast_by_tx_{table.name}')} ON {name} (tx)",
    ]


def _base(table: Table, key: str) -> str:
    """The row's revision as last applied, 0 when the server has never sent it."""
    return f"coalesce((SELECT rev FROM holdfast_row WHERE tbl = '{table.name}' AND key = {key}), 0)"


def _set_new(table: Table) -> str:
    """``n_c = excluded.n_c`` for each data column; for a key-only table nothing."""
    return "".join(f", {quote(name)} = excluded.{quote(name)}" for name in new_names(table))


def _incoming(table: Table, name: str) -> str:
    """What a statement is about to write: ``OR REPLACE`` puts the default in place of a NULL that
    is not allowed, after the BEFORE triggers have seen the NULL."""
    column = table.by_name[name]
    default = column.default_value()
    new = f"NEW.{quote(name)}"
    if column.nullable or default is None:
        return new
    return f"coalesce({new}, {literal(default)})"


def _note_conflicting(table: Table, columns: tuple[str, ...], *, update: bool) -> str:
    """Note the row that holds the same unique values as NEW and may be replaced by it."""
    key = key_sql(table, "t.")
    match = " AND ".join(f"t.{quote(name)} = {_incoming(table, name)}" for name in columns)
    other = f" AND NOT ({key_match(table, 't.', 'NEW.')})" if update else ""
    insert = names(("tx", "key", "was", "now", "base", *old_names(table)))
    data = "".join(f", t.{quote(column.name)}" for column in table.data_columns)
    return (
        f"INSERT INTO {change_table(table)} ({insert}) "
        f"SELECT {_GROUP}, {key}, 1, NULL, {_base(table, key)}{data} "
        f"FROM {quote(table.name)} AS t WHERE {match}{other} "
        "ON CONFLICT (key, tx) DO UPDATE SET now = NULL;"
    )


def triggers(table: Table, fingerprint: str) -> dict[str, str]:
    """The capture triggers of a table: name to SQL. The SQL carries the schema's fingerprint."""
    stem = f"holdfast_{table.name}"
    on = f"ON {quote(table.name)}"
    stamp = f"/* holdfast {fingerprint} */"
    data = [column.name for column in table.data_columns]
    change = change_table(table)
    result: dict[str, str] = {}

    def add(name: str, event: str, when: str, body: str) -> None:
        result[f"{stem}_{name}"] = (
            f"CREATE TRIGGER {quote(f'{stem}_{name}')} {event} {on} "
            f"WHEN {when} BEGIN {stamp} {body} END"
        )

    def key_exists(columns: tuple[str, ...]) -> str:
        match = " AND ".join(f"{quote(name)} = {_incoming(table, name)}" for name in columns)
        return f"EXISTS (SELECT 1 FROM {quote(table.name)} WHERE {match})"

    for number, columns in enumerate((table.key, *table.unique)):
        add(
            f"before_insert_{number}",
            "BEFORE INSERT",
            f"{_QUIET} AND {key_exists(columns)}",
            _note_conflicting(table, columns, update=False),
        )
    for number, columns in enumerate(table.unique, start=1):
        add(
            f"before_update_{number}",
            f"BEFORE UPDATE OF {names(columns)}",
            f"{_QUIET} AND {key_exists(columns)}",
            _note_conflicting(table, columns, update=True),
        )
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
    new_key, old_key = key_sql(table, "NEW."), key_sql(table, "OLD.")
    new_list = names(new_names(table))
    old_list = names(old_names(table))
    comma = ", " if data else ""
    add(
        "after_insert",
        "AFTER INSERT",
        _QUIET,
        f"INSERT INTO {change} (tx, key, was, now{comma}{new_list}) "
        f"VALUES ({_GROUP}, {new_key}, 0, 1{comma}{names(data, 'NEW.')}) "
        f"ON CONFLICT (key, tx) DO UPDATE SET now = 1{_set_new(table)};",
    )
    if data:
        add(
            "after_update",
            f"AFTER UPDATE OF {names(data)}",
            _QUIET,
            f"INSERT INTO {change} (tx, key, was, now, base, {old_list}, {new_list}) "
            f"VALUES ({_GROUP}, {new_key}, 1, 1, {_base(table, new_key)}, "
            f"{names(data, 'OLD.')}, {names(data, 'NEW.')}) "
            f"ON CONFLICT (key, tx) DO UPDATE SET now = 1{_set_new(table)};",
        )
    clear = "".join(f", {quote(name)} = NULL" for name in new_names(table))
    add(
        "after_delete",
        "AFTER DELETE",
        _QUIET,
        f"INSERT INTO {change} (tx, key, was, now, base{comma}{old_list}) "
        f"VALUES ({_GROUP}, {old_key}, 1, 0, {_base(table, old_key)}"
        f"{comma}{names(data, 'OLD.')}) "
        f"ON CONFLICT (key, tx) DO UPDATE SET now = 0{clear};",
    )
    return result


def unknown_keys(table: Table) -> str:
    """The keys of a group (parameter) whose ``now`` is unknown; the host looks the rows up."""
    return f"SELECT key FROM {change_table(table)} WHERE tx = ? AND now IS NULL"


def resolve_unknown(table: Table) -> str:
    """Store what a look-up found: parameters are now, the new values, the group and the key."""
    targets = "".join(f", {quote(name)} = ?" for name in new_names(table))
    return f"UPDATE {change_table(table)} SET now = ?{targets} WHERE tx = ? AND key = ?"


def look_up_unknown(table: Table) -> str:
    """The same from the table itself: parameters are the key's values, the group and the key."""
    targets = names(["now", *new_names(table)])
    if table.data_columns:
        targets = f"({targets})"
    found = ", ".join(["count(*)", *(quote(column.name) for column in table.data_columns)])
    return (
        f"UPDATE {change_table(table)} SET {targets} = (SELECT {found} FROM {quote(table.name)} "
        f"WHERE {key_match(table)}) WHERE tx = ? AND key = ?"
    )


def _texts(table: Table) -> list[str]:
    """The columns of a note that may hold any text, the key first."""
    data = [c.name for c in table.data_columns if STORAGE[c.type] == "TEXT"]
    return ["key", *(f"o_{name}" for name in data), *(f"n_{name}" for name in data)]


def odd_texts(table: Table) -> str:
    """Of a group (parameter): rowid and the bytes of all texts, of notes where one is not plain
    ASCII. Whether they are UTF-8 is for the host to see: SQLite's built-in functions cannot."""
    texts = [quote(name) for name in _texts(table)]
    odd = " OR ".join(f"(typeof({n}) = 'text' AND {n} GLOB {_NOT_ASCII})" for n in texts)
    parts = ", ".join(f"CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) END" for n in texts)
    return f"SELECT rowid, {parts} FROM {change_table(table)} WHERE tx = ? AND ({odd})"


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


def _empty(table: Table) -> str:
    same = " AND ".join(
        f"{quote(old)} IS {quote(new)}"
        for old, new in zip(old_names(table), new_names(table), strict=True)
    )
    unchanged = f"was = 1 AND now = 1 AND {same}" if same else "was = 1 AND now = 1"
    return f"(was = 0 AND now = 0) OR ({unchanged})"


def survey(table: Table) -> str:
    """Of a group (parameter): its notes, how many are unknown or without a net change, and whether
    rows of it have earlier notes."""
    change = change_table(table)
    return (
        f"SELECT count(*), coalesce(sum(now IS NULL), 0), coalesce(sum({_empty(table)}), 0), "
        f"coalesce(max(EXISTS (SELECT 1 FROM {change} AS p "
        f"WHERE p.key = c.key AND p.tx < c.tx)), 0) "
        f"FROM {change} AS c WHERE tx = ?"
    )


def drop_empty(table: Table) -> str:
    """Remove notes without a net change from a group (parameter)."""
    return f"DELETE FROM {change_table(table)} WHERE tx = ? AND ({_empty(table)})"
