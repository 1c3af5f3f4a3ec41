"""What is told at once is of one moment, whatever other connections do between two statements.

Checks I29.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from replica_lab import Device

from holdfast.core.values import Value
from holdfast.replica.changes.local_work import LocalWork
from holdfast.replica.host import Host
from holdfast.replica.inbox.decisions import InboxDecisions
from holdfast.replica.inbox.inbox import Inbox
from holdfast.replica.storage.database import LocalDatabase
from holdfast.replica.storage.status import has_unsent, has_work, read_status
from holdfast.sqlite import Connection, Row


class Disturbed:
    """A connection after whose n-th statement something happens elsewhere."""

    def __init__(self, inner: Connection, after: int, happens: Callable[[], object]) -> None:
        self._inner = inner
        self._left = after
        self._happens = happens

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        rows = self._inner.execute(sql, params)
        self._left -= 1
        if self._left == 0:
            self._happens()
        return rows

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def _pending(database: LocalDatabase) -> object:
    told = read_status(database, dict)
    return told.pending, told.pending_changes, told.oldest_pending_at is not None


def _badge(database: LocalDatabase) -> object:
    local = LocalWork(database, Host(), on_commit=lambda: None)
    return InboxDecisions(local, Inbox(database)).row_status("item", "i")


LOOKS = {
    "status": (_pending, (1, 1, True)),
    "has_work": (has_work, True),
    "has_unsent": (has_unsent, True),
    "row_status": (_badge, "pending"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_seal_between_any_two_statements_hides_nothing(tmp_path: Path, look: str) -> None:
    asked, right = LOOKS[look]
    one = Device(tmp_path / "r.db")
    other = Device(tmp_path / "r.db", schema=None)
    real = one.db.app
    disturbed = 0
    try:
        for after in range(1, 100):
            with other.commit() as db:
                db.execute("INSERT INTO item (id) VALUES ('i')")
            disturbance = Disturbed(real, after, other.seal_now)
            one.db.app = disturbance  # type: ignore[assignment]
            assert asked(one.db) == right, f"sealed after statement {after}"
            one.db.app = real
            with other.commit() as db:
                db.execute("DELETE FROM item")
            other.seal_now()
            other.rows("DELETE FROM holdfast_tx")
            other.rows("DELETE FROM holdfast_change_item")
            if not disturbance.happened:
                break
            disturbed += 1
    finally:
        one.db.app = real
        one.close()
        other.close()
    assert disturbed > 0
