"""The ``Driver`` and ``Connection`` protocols: all that the engine asks of a SQLite library.

Knows: the few operations the engine needs. Must not know: tables of the engine.
Both drivers work in autocommit mode; transactions are explicit ``BEGIN``/``COMMIT`` statements.
Errors of the library come as the ``DatabaseError`` tree of ``core.errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from holdfast.core.limits import BUSY_TIMEOUT_MS
from holdfast.core.values import Row, Value

_CONSTRAINTS = {
    275: "check", 787: "foreign_key", 1299: "not_null", 1555: "unique", 2067: "unique",
    2579: "unique", 3091: "check",
}  # fmt: skip
"""SQLite's extended result codes (https://sqlite.org/rescode.html); 3091: a value of a wrong
type."""


def constraint_kind(extended_code: int) -> str:
    """Return which kind of constraint failed; what is none of SQLite's own was raised by a
    trigger.
    """
    return _CONSTRAINTS.get(extended_code, "trigger")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """Options of a connection. ``synchronous``: FULL survives a power cut after each commit.

    ``value_bytes_max``: a larger value, or row, is an error; None: SQLite's own limit.
    """

    synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL"
    foreign_keys: bool = True
    busy_timeout_ms: int = BUSY_TIMEOUT_MS
    read_only: bool = False
    create: bool = True
    look_only: bool = False
    """Whose file it is, is not known yet: it keeps the journal that it has, and is not made."""
    secure_delete: bool = False
    """Whether what is deleted is overwritten in the file."""
    value_bytes_max: int | None = None
    stopped: Callable[[], bool] | None = None
    """Asked all the time while another connection has the lock: True gives up at once."""
    scratch: bool = False
    """A file of one connection which is of no use after a crash: it has no log and no journal."""


class Connection(Protocol):
    """One connection to one file. Not for use by two threads at the same time."""

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and return all of its rows."""

    def iterate(self, sql: str, params: Sequence[Value] = ()) -> Iterator[Row]:
        """Run one statement and yield its rows as they are read."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each row of parameters."""

    def script(self, sql: str) -> None:
        """Run several statements without parameters."""

    def changes(self) -> int:
        """Rows changed by the last statement."""

    def columns(self, sql: str, params: Sequence[Value] = ()) -> tuple[tuple[str, ...], list[Row]]:
        """Run one statement; its column names and all of its rows."""

    @property
    def in_transaction(self) -> bool: ...

    def interrupt(self) -> None:
        """Stop what the connection is doing; called from another thread. The statement raises."""

    def close(self) -> None: ...


class Driver(Protocol):
    """A SQLite library."""

    @property
    def name(self) -> str: ...

    @property
    def sqlite_version(self) -> tuple[int, int, int]: ...

    def connect(self, path: str, options: OpenOptions) -> Connection:
        """Open a file. Raises ``DatabaseError``; ``mixed_sqlite_libraries`` when another SQLite
        library of this process has the same file open (POSIX locks would break)."""
