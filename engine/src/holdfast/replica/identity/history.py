"""The history of a replica: copies, restores and the like, as they are told to a person.

Knows: the lines that are kept of them. Must not know: how they came about.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from holdfast.core.connection.history import history_text
from holdfast.sql.bookkeeping.statements import EVENTS
from holdfast.sqlite import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """An event: ``kind`` (``copied``, ``restored``, ``reinitialised``, ``server_restored``,
    ``accepted_server``, ``migrated``, ``salvaged``), when it was noticed (``at``, microseconds
    since 1970), and what has become of the transactions that were sent again because of it."""

    at: int
    kind: str
    resent: int
    already_there: int
    to_inbox: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return dataclasses.asdict(self)


def read_history(connection: Connection) -> list[HistoryEvent]:
    """All events, oldest first."""
    events = []
    for at, kind, since, *counts, text in connection.execute(EVENTS.all):
        resent, there, inbox = (int(str(count)) for count in counts)
        told = history_text(
            str(kind), since if isinstance(since, int) else None, resent, there, inbox
        )
        events.append(
            HistoryEvent(
                at=int(str(at)), kind=str(kind), resent=resent, already_there=there,
                to_inbox=inbox, text=str(text) or told,
            )
        )  # fmt: skip
    return events
