"""Rehearsal: what a large transaction will write is worked out before anybody has to wait for it.

Knows: the reads and writes of a ``Writer``, by name. Must not know: what they are for.
What decides a transaction depends on nothing but what it reads. So it is decided on a snapshot,
where its reads and writes are remembered; the commit reads the same again, and when it reads the
same it writes what was remembered. Otherwise (``StaleRehearsal``) somebody was faster.

Heads and digests of scopes are read as well, and not compared: what depends on them belongs in the
commit.

Upholds I16, I22 (the commit writes what it would have written without) and I31.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.server.store.contract import Scope, Writer


class StaleRehearsal(Exception):
    """The rehearsal does not hold any more; nothing was written."""


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    found: Any = None

    def on(self, writer: Writer) -> Any:
        found = getattr(writer, self.name)(*self.args, **self.kwargs)
        return list(found) if isinstance(found, Iterator) else found


_FAILED = object()
"""What a read has found that failed: it is never the same."""


@dataclass(slots=True)
class RehearsedScript:
    """Reads that were made, and writes to be made; both in their order."""

    reads: list[_Call] = field(default_factory=list)
    writes: list[_Call] = field(default_factory=list)

    def check(self, writer: Writer) -> None:
        """Read everything again. Raises ``StaleRehearsal``."""
        if any(call.on(writer) != call.found for call in self.reads):
            raise StaleRehearsal

    def write(self, writer: Writer) -> None:
        """Raises ``ConstraintFailed``."""
        for call in self.writes:
            call.on(writer)


class Rehearsal:
    """Has the part of ``Writer`` that deciding uses; it writes nothing."""

    def __init__(self, reads: Writer) -> None:
        """``reads``: of a snapshot; its writes are not used."""
        self._reads = reads
        self.counts_from = reads.counts_from
        self.script = RehearsedScript()
        self.existing = self._read("existing")
        self.children = self._read("children")
        self.holder = self._read("holder")
        self.rows = self._read("rows")
        self.stored = self._read("stored")
        self.recorded = self._read("recorded")
        self.open_conflicts = self._read("open_conflicts")
        self.query = self._read("query")
        self.write = self._write("write")
        self.put_records = self._write("put_records")

    def _read(self, name: str) -> Callable[..., Any]:
        def read(*args: Any, **kwargs: Any) -> Any:
            found: Any = _FAILED
            try:
                found = _Call(name, args, kwargs).on(self._reads)
            finally:
                self.script.reads.append(_Call(name, args, kwargs, found))
            return found

        return read

    def _write(self, name: str) -> Callable[..., None]:
        def write(*args: Any, **kwargs: Any) -> None:
            self.script.writes.append(_Call(name, args, kwargs))

        return write

    def hold(self, scopes: Iterable[str]) -> None:
        """Nothing is locked in a snapshot; the commit locks before it reads again."""
        self.script.reads.append(_Call("hold", (sorted({*scopes}),), {}))

    def scopes(self, names: Iterable[str]) -> dict[str, Scope]:
        return self._reads.scopes(names)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        mark = len(self.script.writes)
        try:
            yield
        except BaseException:
            del self.script.writes[mark:]
            raise
