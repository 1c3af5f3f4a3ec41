"""Lookup of rows that have unsettled changes or shadows, a few at a time.

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


class NotedKeys:
    """A set of keys in the database, of which it is asked whether one is in it.

    It must not change as long as it is asked, but for what the asker has taken out themselves.
    """

    def __init__(self, connection: Connection, *, every: str = "", among: str = "") -> None:
        """``every`` gives all of them, ``among`` those of a JSON array; empty: there are none."""
        self._db = connection
        self._every = every
        self._among = among
        self._known: dict[str, bool] = {}

    def look(self, keys: Collection[str]) -> None:
        """Find out about many at once."""
        asked = [key for key in keys if key not in self._known] if self._among else []
        if asked:
            self._known.update(dict.fromkeys(asked, False))
            found = self._db.execute(self._among, (json.dumps(asked),))
            self._known.update((str(key), True) for (key,) in found)

    def __contains__(self, key: str) -> bool:
        if not self._among:
            return False
        known = self._known.get(key)
        if known is None:
            self.look((key,))
            known = self._known[key]
        return known

    def among(self, keys: Collection[str]) -> set[str]:
        """Those of some keys that are in it."""
        if not self._among:
            return set()
        self.look(keys)
        return {key for key in keys if self._known[key]}

    def all(self) -> set[str]:
        """Every key: costs as many as there are."""
        if not self._every:
            return set()
        return {str(key) for (key,) in self._db.execute(self._every)}


def noted_tables(
    connection: Connection, program: ReplicaProgram, *, sweep: bool = False
) -> list[str]:
    """The tables with notes in the outbox or with shadows, in the program's order.

    Only those are asked that may have some, which sealing writes down. ``sweep``: those that have
    none any more are no longer asked from now on; inside a write transaction.
    """
    may = {str(name) for (name,) in connection.execute(program.noted_tables)}
    found: list[str] = []
    for name in filter(may.__contains__, program.tables) if may else ():
        ((noted,),) = connection.execute(program.tables[name].noted)
        if noted:
            found.append(name)
        elif sweep:
            connection.execute(program.drop_noted, (name,))
    return found
