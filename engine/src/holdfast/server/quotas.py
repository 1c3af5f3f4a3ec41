"""Quotas: how much a scope may hold, and how large a row may be.

Knows: what a transaction adds to which scope. Must not know: why, or how it is stored.
What would exceed a quota is refused, and waits in the inbox of its device with what can be done. A
scope that is above its quota, because that was lowered, can still be changed and emptied. Rows that
the server's own side writes count, and are never refused.

Upholds I27 (only what exceeds it is refused) and I31.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.core.errors import Refuse
from holdfast.core.limits import ROW_BYTES_MAX, SCOPE_ROWS_MAX
from holdfast.core.rows import ServerRow
from holdfast.schema.model import Table
from holdfast.server.feed import scopes_of
from holdfast.server.store import Row, Writer

Change = tuple[Table, str, ServerRow, ServerRow]
"""Table, key, and the row before and now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """``core.limits`` says what each number means."""

    scope_rows_max: int = SCOPE_ROWS_MAX
    row_bytes_max: int = ROW_BYTES_MAX


class Account:
    """What the transactions of one commit add to scopes, on top of what is there."""

    def __init__(self, writer: Writer, quotas: Quotas) -> None:
        self._writer = writer
        self._quotas = quotas
        self._held: dict[str, int] = {}
        self._added: Counter[str] = Counter()

    def mark(self) -> Counter[str]:
        """What ``restore`` takes."""
        return self._added.copy()

    def restore(self, mark: Counter[str]) -> None:
        """Take back what was added since."""
        self._added = mark

    def take(self, changes: Iterable[Change]) -> None:
        """Take in a transaction. Raises ``Refuse`` (``quota_rows``, ``quota_row_bytes``); then it
        has added nothing."""
        self.add(self._measure(changes))

    def add(self, more: Counter[str]) -> None:
        """Take in what scopes have more. Raises ``Refuse``; then nothing was added."""
        for scope in sorted(more):
            if more[scope] > 0:
                self._check(scope, more[scope])
        self._added.update(more)

    def _measure(self, changes: Iterable[Change]) -> Counter[str]:
        more: Counter[str] = Counter()
        for table, key, before, now in changes:
            if before.rev == now.rev:
                continue
            if now.values is not None and size(now.values) > self._quotas.row_bytes_max:
                raise Refuse(
                    "quota_row_bytes",
                    f"{table.name} {key!r} would have {size(now.values)} bytes; a row may have "
                    f"{self._quotas.row_bytes_max}. Keep less in it, or ask whoever runs the "
                    "server to allow more.",
                    table=table.name, key=key, limit=self._quotas.row_bytes_max,
                )  # fmt: skip
            was, is_now = scopes_of(table, before.values), scopes_of(table, now.values)
            if was != is_now:
                more.subtract(was)
                more.update(is_now)
        return more

    def _check(self, scope: str, more: int) -> None:
        if scope not in self._held:
            found = self._writer.scopes([scope]).get(scope)
            self._held[scope] = 0 if found is None else found.digest.count
        most = self._quotas.scope_rows_max
        if self._held[scope] + self._added[scope] + more > most:
            raise Refuse(
                "quota_rows",
                f"{scope} may hold {most} rows, and this would be more. Delete what is not needed "
                "any more and try again, or ask whoever runs the server to allow more.",
                scope=scope, limit=most,
            )  # fmt: skip


def size(row: Row) -> int:
    """About how many bytes a row takes: texts as they are, eight for anything else."""
    return sum(
        len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes)
        else 8
        for value in row
    )  # fmt: skip
