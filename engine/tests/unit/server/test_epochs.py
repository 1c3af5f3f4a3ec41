"""A server that was restored from a backup: its epoch ends, and what is missing is offered again.

Checks I5, I7, I17.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator

import pytest

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import EPOCH_REVISIONS
from holdfast.core.merging.rows import COUNTER_BITS, COUNTER_MAX
from holdfast.protocol.messages import Head, Origin, Outcome, Position, Transaction
from holdfast.server.open_store import open_store

from .conftest import SCHEMA, Peer, Server, connect
from .test_replicas import PRODUCT, brought, file_of, refused

PutBack = Callable[[], None]


@contextlib.contextmanager
def backed_up(server: Server) -> Iterator[PutBack]:
    """A copy of the database as it is now, and how it is put back in its place."""
    if not server.postgres:
        server.service.close()
        copy = f"{server.path}.copy"
        shutil.copy(server.path, copy)
        server.open()

        def put_back() -> None:
            server.service.close()
            shutil.copy(copy, server.path)
            server.open()

        yield put_back
        return
    with connect(str(server.path)) as db:
        db.execute("SET session_replication_role = replica")
        names = [
            name
            for (name,) in db.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            ).fetchall()
        ]
        db.execute("CREATE SCHEMA IF NOT EXISTS kept_aside")
        for name in names:
            db.execute(f'CREATE TABLE kept_aside."{name}" AS TABLE "{name}"')

        def load() -> None:
            server.service.close()
            for name in names:
                db.execute(f'DELETE FROM "{name}"')
                db.execute(
                    f'INSERT INTO "{name}" OVERRIDING SYSTEM VALUE TABLE kept_aside."{name}"'
                )
            server.open()

        try:
            yield load
        finally:
            db.execute("DROP SCHEMA kept_aside CASCADE")


def fork(peer: Peer) -> None:
    """What a device does whose server has lost history: it offers again what it has kept."""
    peer.origin = Origin(peer.replica or peer.principal.device, peer.number)
    peer.replica, peer.nonce, peer.proposed = peer.server.random(16).hex(), "", ""
    peer.epoch = ""


def ask(peer: Peer) -> tuple[Head, list[Outcome]]:
    """An exchange whose rows are not looked at."""
    head, *_ = peer.server.service.exchange(peer.principal, peer.request(), echo="e")
    assert isinstance(head, Head)
    return head, head.outcomes


@pytest.fixture
def till(server: Server) -> Peer:
    till = server.peer("till")
    till.insert("product", "p", **PRODUCT)
    till.sync()
    return till


def test_what_was_acknowledged_comes_back(server: Server, till: Peer) -> None:
    other = server.peer("other")
    other.sync()
    epoch = server.service.epoch
    with backed_up(server) as restore:
        till.commit(till.change("update", "product", "p", {"on_hand": 10}))
        till.update("product", "p", price="2.00")
        kept = list(till.pending)
        till.sync()
        lost = till.rows["product", "p"][0]
        till.update("product", "p", price="3.00")  # on a revision that nobody will know
        restore()
        for _ in range(2):  # it ends once, however often it is proven
            error = refused(till)
            assert (error.code, error.status) == ("epoch_mismatch", 409)
            assert error.detail["past"] is True
            assert error.detail["epoch"] == server.service.epoch != epoch
        assert server.query("SELECT number, epoch FROM holdfast_epoch") == [(1, epoch)]
        till.pending = [*kept, *till.pending]
        fork(till)
        assert brought(till.sync()) == [
            (2, "applied", False), (3, "applied", False), (4, "applied", False),
        ]  # fmt: skip
        assert [one.impossible for one in till.outcomes.values()] == [0, 0, 0, 0]
        row = till.row("product", "p") or {}
        assert (row["on_hand"], row["price"], till.conflicts()) == (15, "3.00", [])
        assert till.rows["product", "p"][0] > lost
        assert server.query("SELECT count(*) FROM holdfast_applied") == [(4,)]
        # Whose position is in our history goes on from there.
        assert refused(other).detail["past"] is True
        fork(other)
        other.sync()
        assert not any(grant.reconcile for grant in other.grants.values())
        assert other.row("product", "p") == row
        assert len(server.query("SELECT 1 FROM holdfast_epoch")) == 1
        server.check()


def test_work_on_a_row_that_was_lost_altogether_comes_back(server: Server, till: Peer) -> None:
    """The row begins again as another one; what was based on the lost one has seen all of it."""
    other = server.peer("other")
    other.sync()
    with backed_up(server) as restore:
        kept: dict[str, list[Transaction]] = {"till": [], "other": []}

        def synced(peer: Peer, name: str) -> None:
            kept[name] += peer.pending
            peer.sync()

        for key in ("q", "gone"):
            till.insert("product", key, **{**PRODUCT, "sku": key})
        synced(till, "till")
        till.commit(
            till.change("update", "product", "q", {"name": "named", "on_hand": -1}),
            till.change("update", "product", "p", {"on_hand": -3}),
        )
        till.commit(till.change("delete", "product", "gone"))
        synced(till, "till")
        other.sync()
        other.commit(other.change("update", "product", "q", {"name": "by other", "on_hand": -1}))
        synced(other, "other")
        till.sync()
        safe = {key: till.row("product", key) for key in ("p", "q", "gone")}
        assert (safe["q"] or {})["name"] == "by other" and safe["gone"] is None
        restore()
        for peer, name in ((till, "till"), (other, "other")):
            with contextlib.suppress(ProtocolError):
                peer.sync()
            peer.pending = kept[name]
            fork(peer)
            assert {one[1:] for one in brought(peer.sync())} == {("applied", False)}
            assert not any(one.impossible for one in peer.outcomes.values())
        till.sync()
        for peer in (till, other):
            assert {key: peer.row("product", key) for key in safe} == safe
            assert peer.conflicts() == []
        server.check()


def test_the_later_edit_stands_when_it_is_offered_first(server: Server, till: Peer) -> None:
    other = server.peer("other")
    other.sync()
    with backed_up(server) as restore:
        other.insert("product", "q", **{**PRODUCT, "sku": "q"})
        kept = {"other": list(other.pending)}
        other.sync()
        till.sync()
        till.commit(till.change("update", "product", "q", {"name": "earlier", "on_hand": -1}))
        kept["till"] = list(till.pending)
        till.sync()
        other.sync()
        other.commit(other.change("update", "product", "q", {"name": "later", "on_hand": -1}))
        kept["other"] += other.pending
        other.sync()
        safe = other.row("product", "q") or {}
        restore()
        for peer, name in ((other, "other"), (till, "till")):
            with contextlib.suppress(ProtocolError):
                peer.sync()
            peer.pending = kept[name]
            fork(peer)
            assert {one[1:] for one in brought(peer.sync())} == {("applied", False)}
        found = till.row("product", "q") or {}
        assert (found["name"], found["on_hand"]) == ("later", safe["on_hand"])
        server.check()


def test_a_base_of_a_row_that_was_purged_is_not_one_that_was_lost(
    server: Server, till: Peer
) -> None:
    """Who changed a row that was purged long ago does not change the one that has its key now."""
    with backed_up(server) as restore:
        till.update("product", "p", note="lost")
        till.sync()
        restore()
        incarnation = (till.rows["product", "p"][0] >> COUNTER_BITS) ^ 1
        purged = (incarnation << COUNTER_BITS) + 1
        till.commit(till.change("update", "product", "p", {"name": "n"}, base=purged))
        with pytest.raises(ProtocolError):
            till.sync()
        fork(till)
        _, (outcome,) = ask(till)
        assert (outcome.outcome, outcome.code) == ("refused", "row_gone")


def test_who_has_seen_what_was_lost_compares(server: Server, till: Peer) -> None:
    """Rows of a device that never comes again: the others are told to look."""
    reader = server.peer("reader")
    reader.sync()
    with backed_up(server) as restore:
        till.insert("product", "q", **{**PRODUCT, "sku": "q"})
        till.sync()
        reader.sync()
        restore()
        assert refused(reader).detail["past"] is True
        fork(reader)
        head, _ = ask(reader)
        assert head.scopes["catalog"].reconcile
        assert head.epoch == server.service.epoch


def test_a_revision_that_was_lost_is_never_given_again(server: Server, till: Peer) -> None:
    with backed_up(server) as restore:
        till.update("product", "p", note="lost")
        till.sync()
        lost = till.rows["product", "p"][0]
        restore()
        with pytest.raises(ProtocolError):
            till.sync()
        server.sql("UPDATE product SET note = 'by hand' WHERE id = 'p'")
        fresh = server.peer("fresh")
        fresh.sync()
        assert fresh.rows["product", "p"][0] & COUNTER_MAX == EPOCH_REVISIONS
        fresh.update("product", "p", note="pushed")
        fresh.insert("product", "q", **{**PRODUCT, "sku": "q"})
        fresh.sync()
        revs = {fresh.rows["product", key][0] & COUNTER_MAX for key in ("p", "q")}
        assert revs == {EPOCH_REVISIONS, EPOCH_REVISIONS + 1} and lost & COUNTER_MAX == 2


def test_a_base_above_the_row_is_damage_but_for_what_was_lost(server: Server, till: Peer) -> None:
    other = server.peer("other")
    other.sync()
    with backed_up(server) as restore:
        till.update("product", "p", note="lost")
        till.sync()
        above = till.rows["product", "p"][0] + 7
        restore()
        with pytest.raises(ProtocolError):
            till.sync()
        fork(other)
        other.sync()
        other.origin = None
        other.commit(other.change("update", "product", "p", {"price": "2.00"}, base=above))
        (outcome,) = other.sync()
        assert outcome.impossible == 1
        damaged = till.rows["product", "p"][0] + EPOCH_REVISIONS
        till.commit(till.change("update", "product", "p", {"name": "n"}, base=damaged))
        fork(till)
        _, (outcome,) = ask(till)
        assert outcome.impossible == 1


def test_nothing_ends_an_epoch_but_a_seal_of_ours(server: Server, till: Peer) -> None:
    epoch = server.service.epoch
    at = till.checkpoint["catalog"]
    forged = Position(at.version + 5, at.count, at.digest, at.seal)
    error = refused(till, checkpoint={"catalog": forged})
    assert error.code == "seal_invalid"
    error = refused(till, epoch="somebody-elses")
    assert (error.code, error.detail["past"]) == ("epoch_mismatch", False)
    assert server.service.epoch == epoch
    assert server.query("SELECT count(*) FROM holdfast_epoch") == [(0,)]


def test_it_ends_again_and_positions_of_each_are_known(server: Server, till: Peer) -> None:
    old = file_of(till)
    for note in ("first", "second"):
        with backed_up(server) as restore:
            till.update("product", "p", note=note)
            kept = list(till.pending)
            till.sync()
            restore()
            assert refused(till).detail["past"] is True
            till.pending = kept
            fork(till)
            till.sync()
            till.origin = None
    assert (till.row("product", "p") or {})["note"] == "second"
    assert refused(old).detail["past"] is True
    fork(old)
    old.sync()
    assert old.row("product", "p") == till.row("product", "p")


def test_another_process_notices(server: Server, till: Peer) -> None:
    if not server.postgres:
        pytest.skip("one process serves a file")
    with contextlib.closing(open_store(SCHEMA, server.path, random_bytes=server.random)) as second:
        epoch = second.epoch
        with backed_up(server) as restore:
            till.update("product", "p", note="lost")
            till.sync()
            restore()
            with pytest.raises(ProtocolError):
                till.sync()
            second.read().close()
            assert second.epoch == server.service.epoch != epoch
            second.end_epoch(epoch, new="another-one", at=1)  # it has ended already
            assert second.epoch == server.service.epoch


def test_the_same_backup_is_restored_twice(server: Server, till: Peer) -> None:
    """The epoch that the device comes from began after the backup: its seals prove that it was."""
    with backed_up(server) as restore:
        till.update("product", "p", note="kept")
        kept = list(till.pending)
        till.sync()
        for times in (1, 2):
            restore()
            error = refused(till)
            assert (error.code, error.detail["past"]) == ("epoch_mismatch", True)
            lost = till.rows["product", "p"][0]
            till.pending = list(kept)
            fork(till)
            assert brought(till.sync()) == [(2, "applied", False)]
            till.origin = None
            assert till.rows["product", "p"][0] > lost
            assert server.query("SELECT count(*) FROM holdfast_epoch") == [(times,)]
    server.check()
