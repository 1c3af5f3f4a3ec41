"""Objects that an app has in a replica's file for itself: tables, indexes, views and triggers.

Knows: the statements of ``Schema.local``. Must not know: synced tables, but for their names.
Objects are compared by name and text. A table that triggers of the app fill from synced rows is a
cache: when it is new or was changed, it is made anew, with what its triggers write together with
it: first with the rows that the schema's own statements put there, then the synced rows are written
again, so that they fill it as they do for news. Any other table is the app's own data: what both
forms have in common is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.schema.model import Schema
from holdfast.sql.names import names, quote
from holdfast.sqlite import Connection, Row

_NAME = r"[\"'`\[]?(\w+)[\"'`\]]?"
_CREATE = re.compile(
    r"\s*CREATE\s+(?:UNIQUE\s+|VIRTUAL\s+)?(TABLE|INDEX|VIEW|TRIGGER)\s+"
    rf"(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}",
    re.IGNORECASE,
)
_ON = re.compile(rf"\bON\s+{_NAME}", re.IGNORECASE)
_WRITES = re.compile(
    r"\b(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM)"
    rf"\s+{_NAME}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Object:
    kind: str
    name: str
    sql: str

    @property
    def writes(self) -> set[str]:
        """Tables that a trigger writes."""
        body = self.sql[self.sql.upper().find("BEGIN") :]
        return _written(body)

    @property
    def on(self) -> str:
        """The table that a trigger is of."""
        found = _ON.search(self.sql)
        return found[1].lower() if found else ""


class LocalSql:
    """The objects of two generations, in one file."""

    def __init__(self, connection: Connection, old: tuple[str, ...], new: tuple[str, ...]) -> None:
        self._db = connection
        self._old = _objects(old)
        self._new = _objects(new)
        self._kept: dict[str, tuple[list[str], list[Row]]] = {}
        self._caches = self._rebuilt()
        plain = [sql for sql in new if not _CREATE.match(sql)]
        self._first = [sql for sql in plain if _written(sql) & self._caches]
        self._last = [sql for sql in plain if sql not in old and sql not in self._first]

    def _triggers(self) -> list[_Object]:
        return [one for one in self._new.values() if one.kind == "TRIGGER"]

    def _tables(self) -> set[str]:
        return {name for name, one in self._new.items() if one.kind == "TABLE"}

    def _rebuilt(self) -> set[str]:
        """Caches that are to be filled: new and changed ones, and what is written with them."""
        triggers, tables = self._triggers(), self._tables()
        written = {name for one in triggers for name in one.writes}
        found = {name for name in tables & written if self._new[name] != self._old.get(name)}
        while True:
            more = {
                name
                for one in triggers
                if one.writes & found
                for name in one.writes | ({one.on} & written)
                if name in tables
            }
            if more <= found:
                return found
            found |= more

    def drop(self) -> None:
        """Drop what is gone or changed, and all triggers; keep what is the app's own data."""
        for kind in ("TRIGGER", "INDEX", "VIEW", "TABLE"):
            for name, one in self._old.items():
                changed = self._new.get(name) != one
                if one.kind != kind or not (changed or kind == "TRIGGER" or name in self._caches):
                    continue
                if kind == "TABLE" and name in self._new and name not in self._caches:
                    self._keep(one.name, self._new[name].kind)
                self._db.execute(f"DROP {kind} IF EXISTS {quote(one.name)}")

    def _keep(self, name: str, becomes: str) -> None:
        if becomes == "TABLE":
            there, rows = self._db.columns(f"SELECT * FROM {quote(name)}")
            self._kept[name.lower()] = (list(there), rows)

    def make(self, new: Schema) -> None:
        """Make what is not there, and fill it. Triggers that fill nothing of it rest meanwhile."""
        self._make("TABLE", "INDEX", "VIEW")
        for name, (there, rows) in self._kept.items():
            has = {
                str(column)
                for (column,) in self._db.execute("SELECT name FROM pragma_table_info(?)", (name,))
            }
            both = [column for column in there if column in has]
            if both and rows:
                places = [there.index(column) for column in both]
                into = f"INSERT INTO {quote(name)} ({names(both)}) VALUES "
                self._db.executemany(
                    f"{into}({', '.join('?' * len(both))})",
                    [[row[place] for place in places] for row in rows],
                )
        for sql in self._first:
            self._db.execute(sql)
        fillers = [one for one in self._triggers() if one.writes & self._caches]
        for one in fillers:
            self._db.execute(one.sql)
        synced = {table.name for table in new.all_tables}
        for source in sorted({one.on for one in fillers} & (synced | self._tables())):
            if source not in self._caches:
                self._db.execute(f"INSERT OR REPLACE INTO {quote(source)} SELECT * FROM {quote(source)}")  # fmt: skip # noqa: E501
        self._make("TRIGGER")
        for sql in self._last:
            self._db.execute(sql)

    def _make(self, *kinds: str) -> None:
        there = {
            str(name).lower() for (name,) in self._db.execute("SELECT name FROM sqlite_schema")
        }
        for name, one in self._new.items():
            if one.kind in kinds and name not in there:
                self._db.execute(one.sql)


def _written(sql: str) -> set[str]:
    """Tables that a statement writes, or the body of a trigger."""
    return {found.lower() for found in _WRITES.findall(sql)}


def _objects(statements: tuple[str, ...]) -> dict[str, _Object]:
    """Objects by their names, which SQLite compares without case."""
    found = {}
    for sql in statements:
        match = _CREATE.match(sql)
        if match:
            found[match[2].lower()] = _Object(match[1].upper(), match[2], sql)
    return found
