"""Which rows have unsettled changes or shadows, asked for a few at a time.

Knows: the program's statements. Must not know: what news are, or what is done with a row.
An exchange costs what it changes: with 100,000 transactions waiting, an answer to the first
thousand does not read the keys of all of them, nor does an exchange ask every table of a wide
schema.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection

_TABLES_AT_ONCE = 50
"""A statement of this many parts stays short enough to be kept compiled."""


class Keys:
    """A set of keys in the database, of which it is asked whether one is in it.

    It must not change as long as it is asked, but for what the asker has taken out themselves.
    """

    def __init__(self, connection: Connection, statement: str | None, column: str = "key") -> None:
        """``statement`` gives all of them in ``column``, and has no WHERE; None: there are none."""
        self._db = connection
        self._sql = statement
        self._column = column
        self._known: dict[str, bool] = {}

    def look(self, keys: Collection[str]) -> None:
        """Find out about many at once."""
        asked = [] if self._sql is None else [key for key in keys if key not in self._known]
        if asked:
            self._known.update(dict.fromkeys(asked, False))
            sql = f"{self._sql} WHERE {self._column} IN (SELECT value FROM json_each(?))"
            found = self._db.execute(sql, (json.dumps(asked),))
            self._known.update((str(key), True) for (key,) in found)

    def __contains__(self, key: str) -> bool:
        if self._sql is None:
            return False
        known = self._known.get(key)
        if known is None:
            self.look((key,))
            known = self._known[key]
        return known

    def among(self, keys: Collection[str]) -> set[str]:
        """Those of some keys that are in it."""
        if self._sql is None:
            return set()
        self.look(keys)
        return {key for key in keys if self._known[key]}

    def all(self) -> set[str]:
        """Every key: costs as many as there are."""
        if self._sql is None:
            return set()
        return {str(key) for (key,) in self._db.execute(self._sql)}


def noted_tables(connection: Connection, program: ReplicaProgram) -> list[str]:
    """The tables with notes in the outbox or with shadows, in the program's order."""
    names = list(program.tables)
    found: list[str] = []
    for start in range(0, len(names), _TABLES_AT_ONCE):
        parts = []
        for number, name in enumerate(names[start : start + _TABLES_AT_ONCE], start=start):
            statements = program.tables[name]
            noted = statements.groups.replace("?", "0")
            parts.append(
                f"SELECT {number} WHERE EXISTS ({noted}) OR EXISTS ({statements.shadow_keys})"
            )
        rows = connection.execute(" UNION ALL ".join(parts))
        found += [names[int(str(number))] for (number,) in rows]
    return found
