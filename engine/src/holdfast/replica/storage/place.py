"""Place of a replica's file, and which state of it was the newest there.

Knows: the state row, and the note beside the file. Must not know: what follows from it.
The file says where it was when it last had an answer; the lock file beside it says which replica
that was, and with which nonce. So a file that comes to another place, or an older one that comes
back to its own, can be told what it is. It is told for a person to read: what is done is the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from holdfast.core.connection.history import HistoryKind
from holdfast.replica.storage.database import read_state, write_state
from holdfast.sqlite import Connection

Note = tuple[str, str]
"""A replica, and its nonce."""


def record_place(connection: Connection, path: str) -> None:
    """Write down where the file stands, within the transaction of an answer."""
    (known,) = read_state(connection, "place")
    place = os.path.realpath(path)
    if known != place:
        write_state(connection, place=place)


def what_happened(
    connection: Connection, path: str, beside: Callable[[], Note | None], high: object
) -> HistoryKind:
    """Tell a copy from an older state. ``beside``: the note beside the file; ``high``: the last
    number that the server has of this replica, when it says one."""
    place, replica, nonce, last = read_state(connection, "place", "replica", "nonce", "open_tx")
    if place and place != os.path.realpath(path):
        return HistoryKind.COPIED
    noted = beside()
    if noted is not None and noted[0] == replica:
        return HistoryKind.COPIED if noted[1] == nonce else HistoryKind.RESTORED
    above = isinstance(high, int) and high >= int(str(last))
    return HistoryKind.RESTORED if above else HistoryKind.COPIED
