"""Quotas: how much a scope may hold, how large a row may be, and how much one may send in a day.

Knows: what a transaction adds to which scope, and what devices and users have sent. Must not know:
why, or how it is stored.
What would exceed the quota of a scope or a row is refused, and waits in the inbox of its device
with what can be done. A scope that is above its quota, because that was lowered, can still be
changed and emptied. Rows that the server's own side writes count, and are never refused. What is
sent above the quota of a day waits on its device, and goes up later.

Upholds I27 (only what exceeds it is refused), I28 (limit and use are told) and I31.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from holdfast.core.errors import ProtocolError, Refuse
from holdfast.core.limits import (
    DEVICE_BYTES_PER_DAY_MAX,
    ROW_BYTES_MAX,
    SCOPE_BYTES_MAX,
    SCOPE_ROWS_MAX,
    USER_BYTES_PER_DAY_MAX,
)
from holdfast.core.merging.rows import ServerRow
from holdfast.core.values import row_bytes
from holdfast.schema.model import Table
from holdfast.server.feed.feed import scopes_of
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.rate_limit import Rates, monotonic_ms
from holdfast.server.store.contract import Scope, Writer

ChangedRow = tuple[Table, str, ServerRow, ServerRow]
"""Table, key, and the row before and now."""
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """``core.limits`` says what each number means."""

    scope_rows_max: int = SCOPE_ROWS_MAX
    scope_bytes_max: int = SCOPE_BYTES_MAX
    row_bytes_max: int = ROW_BYTES_MAX
    device_bytes_per_day_max: int = DEVICE_BYTES_PER_DAY_MAX
    user_bytes_per_day_max: int = USER_BYTES_PER_DAY_MAX


@dataclass(frozen=True, slots=True)
class ScopeGrowth:
    """Growth of scopes, by name."""

    rows: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)

    def copy(self) -> ScopeGrowth:
        return ScopeGrowth(self.rows.copy(), self.size.copy())


class Account:
    """Growth of scopes by the transactions of one commit, on top of what is there."""

    def __init__(self, writer: Writer, quotas: Quotas) -> None:
        self._writer = writer
        self._quotas = quotas
        self._held: dict[str, Scope | None] = {}
        self._added = ScopeGrowth()

    def mark(self) -> ScopeGrowth:
        """Return what ``restore`` takes."""
        return self._added.copy()

    def restore(self, mark: ScopeGrowth) -> None:
        """Take back what was added since."""
        self._added = mark

    def take(self, changes: Iterable[ChangedRow]) -> None:
        """Take in a transaction. Raises ``Refuse`` (``quota_rows``, ``quota_bytes``,
        ``quota_row_bytes``); then it has added nothing."""
        self.add(self._measure(changes))

    def add(self, more: ScopeGrowth) -> None:
        """Take in what scopes have more. Raises ``Refuse``; then nothing was added."""
        for scope in sorted({*more.rows, *more.size}):
            self._check(scope, more.rows[scope], more.size[scope])
        self._added.rows.update(more.rows)
        self._added.size.update(more.size)

    def _measure(self, changes: Iterable[ChangedRow]) -> ScopeGrowth:
        more = ScopeGrowth()
        for table, key, before, now in changes:
            if before.rev == now.rev:
                continue
            had = 0 if before.values is None else row_bytes(before.values)
            has = 0 if now.values is None else row_bytes(now.values)
            if now.values is not None and has > self._quotas.row_bytes_max:
                raise Refuse(
                    "quota_row_bytes",
                    f"{table.name} {key!r} would have {has} bytes; a row may have "
                    f"{self._quotas.row_bytes_max}. Keep less in it, or ask the server's "
                    "administrator for a larger quota.",
                    table=table.name, key=key, limit=self._quotas.row_bytes_max, used=had,
                )  # fmt: skip
            was, is_now = scopes_of(table, before.values), scopes_of(table, now.values)
            if was != is_now:
                more.rows.subtract(was)
                more.rows.update(is_now)
            for scope in was:
                more.size[scope] -= had
            for scope in is_now:
                more.size[scope] += has
        return more

    def _scope(self, name: str) -> Scope | None:
        if name not in self._held:
            self._held[name] = self._writer.scopes([name]).get(name)
        return self._held[name]

    def _check(self, name: str, more_rows: int, more_size: int) -> None:
        scope = self._scope(name)
        rows = (0 if scope is None else scope.digest.count) + self._added.rows[name]
        size = (0 if scope is None else scope.size) + self._added.size[name]
        for code, what, used, more, most in (
            ("quota_rows", "rows", rows, more_rows, self._quotas.scope_rows_max),
            ("quota_bytes", "bytes", size, more_size, self._quotas.scope_bytes_max),
        ):
            if more > 0 and used + more > most:
                raise Refuse(
                    code,
                    f"{name} may hold {most} {what} and has {used}; this would be {more} more. "
                    "Delete what is no longer needed and try again, or ask the server's "
                    "administrator for a larger quota.",
                    scope=name, limit=most, used=used,
                )  # fmt: skip


class DailyVolumes:
    """Bytes that devices and users have sent within a day, in this process; more is told to
    wait.
    """

    def __init__(self, quotas: Quotas, *, monotonic_ms: Callable[[], int] = monotonic_ms) -> None:
        self._users = _Volume("user", quotas.user_bytes_per_day_max, monotonic_ms)
        self._devices = _Volume("device", quotas.device_bytes_per_day_max, monotonic_ms)

    def take(self, principal: Principal, size: int) -> None:
        """Somebody sends so many bytes. Raises ``ProtocolError`` 429 (``quota_user_bytes``,
        ``quota_device_bytes``); then they do not count."""
        self._users.take(principal.user, size)
        try:
            self._devices.take(principal.device, size)
        except ProtocolError:
            self._users.give_back(principal.user, size)
            raise


class _Volume:
    """Bytes of one kind of sender: a day's worth at once, and then as the day goes by."""

    def __init__(
        self, kind: Literal["user", "device"], limit: int, monotonic_ms: Callable[[], int]
    ) -> None:
        self._kind = kind
        self._limit = limit
        self._rates = Rates(burst=limit, every_ms=_DAY_MS / limit, monotonic_ms=monotonic_ms)

    def take(self, name: str, size: int) -> None:
        try:
            self._rates.take(name, size)
        except ProtocolError as error:
            used = self._rates.used(name)
            raise ProtocolError(
                f"this {self._kind} may send {self._limit} bytes within a day and has sent {used}; "
                "pending work is sent later, or ask the server's administrator for a larger quota",
                code=f"quota_{self._kind}_bytes", status=429,
                limit=self._limit, used=used, **error.detail,
            ) from None  # fmt: skip

    def give_back(self, name: str, size: int) -> None:
        self._rates.give_back(name, size)
