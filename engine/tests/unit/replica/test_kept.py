"""What was acknowledged is kept until a backup has it, and can become work of the outbox again.

Checks I5, I31.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from holdfast.core.errors import Offline
from holdfast.core.limits import KEPT_SAVED_US, KEPT_US
from holdfast.protocol.messages import ExchangeRequest, Transaction
from holdfast.replica.changes.outbox import message_of
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.identity import kept
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.replica import Replica
from holdfast.schema import Column, Schema, Table
from holdfast.server import Principal, Server, open_server
from holdfast.sqlite import OpenOptions, driver

SCHEMA = Schema(
    name="shop",
    tables=(
        Table(
            name="stock",
            key=("sku",),
            columns=(
                Column("sku"),
                Column("name", default=""),
                Column("n", "integer", merge="counter"),
                Column("tags", "json", merge="set", default="[]"),
            ),
            scopes=("main",),
        ),
    ),
)


class Line(MemoryTransport):
    """A line that keeps what was sent, and can lose an answer or say that a backup was made."""

    sent: list[Transaction]
    lost = False
    backed_up = 0

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        self.sent = [*getattr(self, "sent", []), *request.transactions]
        answer = super().exchange(request, echo)
        if self.lost:
            answer.close()
            raise Offline("the answer is lost", code="unreachable")
        answer.head = msgspec.structs.replace(answer.head, backed_up=self.backed_up)
        return answer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with closing(open_server(SCHEMA, str(tmp_path / "s.db"))) as server:
        yield server


@pytest.fixture
def line(server: Server) -> Line:
    principal = Principal(user="u", device="d", read=("main",), write=("main",))
    return Line(server.service, principal)


@pytest.fixture
def replica(tmp_path: Path, line: Line) -> Iterator[Replica]:
    with Replica.open(tmp_path / "r.db", SCHEMA, transport=line) as replica:
        yield replica


def write(replica: Replica, *statements: str) -> None:
    for sql in statements:
        with replica.transaction() as db:
            db.execute(sql)


def bodies(replica: Replica) -> list[Transaction]:
    found = replica.query("SELECT body FROM holdfast_kept ORDER BY number")
    return [msgspec.json.decode(str(body), type=Transaction) for (body,) in found]


WORK = (
    "INSERT INTO stock (sku, name, n) VALUES ('a', 'nut', 9)",
    "UPDATE stock SET n = n - 2, name = 'bolt' WHERE sku = 'a'",
    """UPDATE stock SET tags = '[1.10, 1e400, "new"]' WHERE sku = 'a'""",
    "DELETE FROM stock WHERE sku = 'a'",
)


def test_what_is_acknowledged_is_kept_as_it_was_sent(replica: Replica, line: Line) -> None:
    write(replica, *WORK)
    replica.sync()
    assert bodies(replica) == line.sent
    assert replica.query("SELECT sum(length(CAST(body AS BLOB))) FROM holdfast_kept") == (
        replica.query("SELECT kept_bytes FROM holdfast_state")
    )


def test_what_a_verification_hears_of_is_kept_too(replica: Replica, line: Line) -> None:
    write(replica, WORK[0])
    line.lost = True
    with pytest.raises(Offline):
        replica.sync()
    replica.verify()
    assert replica.status.sent == 0
    assert bodies(replica) == line.sent


def make_older(replica: Replica, by_us: int) -> None:
    with closing(driver().connect(replica.path, OpenOptions())) as raw:
        raw.execute("UPDATE holdfast_kept SET decided_us = decided_us - ?", (by_us,))


def test_what_a_backup_has_is_given_up_two_days_later(replica: Replica, line: Line) -> None:
    """A backup can turn out to be no good, and the one before it is restored."""
    write(replica, *WORK[:3])
    replica.sync()
    line.backed_up = 2
    write(replica, WORK[3])
    replica.sync()
    assert [one.number for one in bodies(replica)] == [1, 2, 3, 4]
    make_older(replica, KEPT_SAVED_US + 1)
    replica.sync()
    assert [one.number for one in bodies(replica)] == [3, 4]
    line.backed_up = 4
    replica.sync()
    assert replica.query("SELECT kept_bytes, backed_up FROM holdfast_state") == [(0, 4)]
    assert replica.status.kept_lost == 0


@pytest.mark.parametrize("limit", ["days", "bytes"])
def test_what_waits_for_a_backup_for_too_long_is_given_up(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    write(replica, *WORK[:2])
    replica.sync()
    if limit == "days":
        make_older(replica, KEPT_US + 1)
    else:
        monkeypatch.setattr(kept, "KEPT_BYTES_MAX", 10)
    replica.sync()
    assert bodies(replica) == []
    assert replica.query("SELECT kept_bytes FROM holdfast_state") == [(0,)]
    assert replica.status.kept_lost == 2


def test_put_back_it_says_the_same(tmp_path: Path, replica: Replica, line: Line) -> None:
    """As the outbox has it again it is encoded as it was sent, and a person sees it."""
    write(replica, *WORK)
    replica.sync()
    program, schema = replica._database.program, replica.schema
    with closing(driver().connect(replica.path, OpenOptions(foreign_keys=False))) as raw:
        for one in line.sent:
            kept.put_back(raw, schema, program, one.number)
        raw.execute("UPDATE holdfast_tx SET state = 'refused', code = 'test'")
    told = replica.refused()
    assert [item.number for item in told] == [1, 2, 3, 4]
    assert "bolt" in repr(told)
    assert bodies(replica) == []
    with closing(driver().connect(replica.path, OpenOptions())) as raw:
        again = [message_of(raw, schema, program, one.number) for one in line.sent]
    assert again == line.sent
