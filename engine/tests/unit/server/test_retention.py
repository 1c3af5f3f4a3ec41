"""What is forgotten in time, and what a device finds that was away for longer: on both stores.

Checks I4, I12, I17, I19.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import ProtocolError
from holdfast.protocol.messages import Head
from holdfast.replica.host import Host
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.replica import Replica
from holdfast.server.files.offers import FilePolicy
from holdfast.server.identity.principal import Principal
from holdfast.server.maintenance.retention import Forgotten, Retention
from holdfast.server.service import Service

DAY_S = 86_400
LONG_S = 200 * DAY_S
"""Longer than removals are kept."""


def pass_retention(server: Any, seconds: float = LONG_S) -> Forgotten:
    """Mark what there is, let the time pass, and forget."""
    server.service.purge()
    server.pass_time(seconds)
    done: Forgotten = server.service.purge()
    assert done.whole
    return done


@contextmanager
def replica(server: Any, path: Path, device: str = "away") -> Iterator[Replica]:
    """A real replica that talks to the service."""
    host = Host(now_us=server.tick, monotonic_ms=lambda: server.now // 1000)
    line = MemoryTransport(server.service, Principal("u", device, write=("*",)), now_us=server.tick)
    with Replica.open(path, server.schema, transport=line, host=host, synchronous="OFF") as opened:
        yield opened


def products(target: Replica) -> dict[str, str]:
    return {str(k): str(n) for k, n in target.query("SELECT id, name FROM product")}


def many(server: Any, count: int) -> Any:
    peer = server.peer("office")
    peer.commit(
        *(peer.change("insert", "product", f"p{n:04}", {"sku": f"s{n}"}) for n in range(count))
    )
    peer.sync()
    return peer


def delete(peer: Any, keys: list[str]) -> None:
    peer.commit(*(peer.change("delete", "product", key) for key in keys))
    peer.sync()


def head_of(lines: Any) -> Head:
    head = next(iter(lines))
    lines.close()
    assert isinstance(head, Head)
    return head


def test_nothing_is_forgotten_before_its_time(server: Any) -> None:
    peer = many(server, 3)
    delete(peer, ["p0001"])
    done = pass_retention(server, 179 * DAY_S)
    assert (done.scopes, done.removals, done.rows, done.positions, done.numbers) == (0,) * 5
    other = server.peer("other")
    other.sync()
    assert other.grants["catalog"].reconcile is False
    server.check()


def test_removals_records_positions_and_numbers_go(server: Any) -> None:
    peer = many(server, 5)
    delete(peer, ["p0001", "p0002"])
    peer.insert("movement", 1, store_id="1", product_id="p0003")
    peer.sync()
    done = pass_retention(server, 401 * DAY_S)
    assert (done.removals, done.rows) == (2, 2)
    assert done.positions == 2 + 1  # catalog had 0, 1 and 2; the store 0 and 1; the newest stay
    assert done.numbers == 2  # of three; the last outcome was never confirmed
    assert server.query("SELECT count(*) FROM holdfast_row WHERE image IS NOT NULL") == [(0,)]
    peer.sync()
    assert peer.grants["catalog"].reconcile is False  # it has seen it all
    peer.update("product", "p0003", name="later")
    assert [o.outcome for o in peer.sync()] == ["applied"]
    server.check()


def test_a_row_that_was_never_in_a_feed_goes_too(server: Any) -> None:
    peer = server.peer()
    peer.insert("product", "p", sku="s")
    peer.delete("product", "p")
    peer.sync()
    assert pass_retention(server).rows == 1
    assert server.query("SELECT count(*) FROM holdfast_row") == [(0,)]


def test_a_row_that_moved_and_was_deleted_later_is_remembered_for_its_own_time(
    server: Any,
) -> None:
    peer = many(server, 1)
    peer.insert("movement", 1, store_id="1", product_id="p0000")
    peer.sync()
    peer.update("movement", 1, store_id="2")
    peer.sync()
    server.service.purge()
    server.pass_time(100 * DAY_S)
    peer.delete("movement", 1)
    peer.sync()
    server.service.purge()
    server.pass_time(100 * DAY_S)
    done: Forgotten = server.service.purge()
    assert (done.removals, done.rows) == (1, 0)
    late = server.peer("late")  # an edit of what was deleted meanwhile still revives it
    late.sync()
    server.pass_time(100 * DAY_S)
    assert server.service.purge().rows == 1
    server.check()


def test_a_row_with_an_open_conflict_about_its_deletion_is_kept(server: Any) -> None:
    one, two = server.peer("one"), server.peer("two")
    one.insert("task", "t", store_id="1", text="a")
    one.sync()
    two.sync()
    one.delete("task", "t")
    one.sync()
    two.update("task", "t", text="b")
    two.sync()
    assert [c["kind"] for c in two.conflicts()] == ["delete"]
    assert pass_retention(server).rows == 0
    two.sync()
    (conflict,) = two.conflicts()
    two.commit(two.settling(conflict, {"text": "b"}))
    two.sync()
    assert two.row("task", "t")["text"] == "b"
    server.check()


@pytest.mark.parametrize("cut", [False, True])
def test_a_device_that_was_away_for_longer_finds_what_is_gone(
    server: Any, tmp_path: Path, *, cut: bool
) -> None:
    """I4, I12: also when the connection is cut after the news and before the comparing."""
    peer = many(server, 300)
    with replica(server, tmp_path / "away.db") as away:
        assert away.sync().verified
        with away.transaction() as db:
            db.execute("UPDATE product SET name = 'mine' WHERE id IN ('p0007', 'p0008')")
            db.execute("INSERT INTO product (id, sku) VALUES ('new', 'new')")
        with away.transaction() as db:
            db.execute("UPDATE product SET name = 'kept' WHERE id = 'p0009'")
        gone = [f"p{n:04}" for n in range(0, 300, 50)] + ["p0007"]
        delete(peer, gone)
        pass_retention(server)
        assert pass_retention(server).removals == 0
        peer.update("product", "p0010", name="news")
        peer.sync()
        if cut:
            verify = away.transport.verify  # type: ignore[union-attr]
            away.transport.verify = _raises  # type: ignore[union-attr, method-assign]
            with pytest.raises(OSError, match="cut"):
                away.sync()
            away.transport.verify = verify  # type: ignore[union-attr, method-assign]
        report = away.sync()
        assert report.verified and report.repaired_rows == 0
        assert report.reconciled_rows >= 6
        names = products(away)
        assert names == {
            key: {"p0009": "kept", "p0010": "news"}.get(key, "")
            for key in (f"p{n:04}" for n in range(300))
            if key not in gone
        }
        (refused,) = away.refused()
        assert refused.code == "row_gone"
        assert {change["key"] for change in refused.changes} >= {"p0007", "p0008", "new"}
        assert away.status.mismatches == 0
        again = away.sync()
        assert again.verified and again.reconciled_rows == 0
        assert away.verify().ok
    server.check()


def _raises(*_arguments: Any) -> None:
    raise OSError("cut")


def test_a_key_that_is_taken_again_is_another_row(server: Any, tmp_path: Path) -> None:
    """I19: neither an update nor a delete of the old row touches the new one."""
    peer = many(server, 2)
    with replica(server, tmp_path / "away.db") as away:
        away.sync()
        with away.transaction() as db:
            db.execute("UPDATE product SET name = 'old life' WHERE id = 'p0000'")
        with away.transaction() as db:
            db.execute("DELETE FROM product WHERE id = 'p0001'")
        delete(peer, ["p0000", "p0001"])
        before = peer.rows.copy()
        pass_retention(server)
        for key in ("p0000", "p0001"):
            peer.insert("product", key, sku=f"{key} again", name="new life")
        peer.sync()
        assert before == {}
        assert away.sync().verified
        assert [item.code for item in away.refused()] == ["row_gone", "row_gone"]
        assert products(away) == {"p0000": "new life", "p0001": "new life"}
        away.sync()
        with away.transaction() as db:
            db.execute("UPDATE product SET name = 'seen' WHERE id = 'p0000'")
        assert away.sync().applied == 1
    peer.sync()
    assert peer.row("product", "p0000")["name"] == "seen"
    server.check()


def test_history_that_was_never_ours_is_still_told_from_what_was_forgotten(
    server: Any,
) -> None:
    peer = many(server, 1)
    old = peer.checkpoint
    peer.update("product", "p0000", name="x")
    peer.sync()
    server.sql("UPDATE holdfast_scope SET head = 1, floor = 0 WHERE scope = 'catalog'")
    server.sql("DELETE FROM holdfast_commit WHERE scope = 'catalog' AND version = 2")
    with pytest.raises(ProtocolError) as caught:
        server.service.exchange(peer.principal, peer.request(), echo="")
    assert (caught.value.code, caught.value.detail["past"]) == ("epoch_mismatch", True)
    peer.epoch, peer.nonce, peer.replica = "", "", server.random(16).hex()
    server.sql("UPDATE holdfast_scope SET head = 2, floor = 2 WHERE scope = 'catalog'")
    head = head_of(server.service.exchange(peer.principal, peer.request(), echo=""))
    assert head.scopes["catalog"].reconcile is True  # at the floor, and not there
    server.sql("DELETE FROM holdfast_commit WHERE scope = 'catalog'")
    peer.checkpoint, peer.replica = old, server.random(16).hex()
    head = head_of(server.service.exchange(peer.principal, peer.request(), echo=""))
    assert head.scopes["catalog"].reconcile is True
    forged = {s: type(p)(p.version, p.count, p.digest, "0" * 32) for s, p in old.items()}
    peer.replica = server.random(16).hex()
    with pytest.raises(ProtocolError) as caught:
        server.service.exchange(peer.principal, peer.request(checkpoint=forged), echo="")
    assert caught.value.code == "seal_invalid"


def test_it_goes_in_bites_and_ends_when_told(server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("holdfast.server.maintenance.retention.RETENTION_BITE_ROWS", 7)
    peer = many(server, 40)
    delete(peer, [f"p{n:04}" for n in range(40)])
    server.service.purge()
    server.pass_time(LONG_S)
    seen: list[int] = []

    def proceed(done: Forgotten) -> bool:
        seen.append(done.removals)
        return done.removals < 14

    done = server.service.purge(proceed=proceed)
    assert not done.whole and done.removals == 14
    assert max(b - a for a, b in pairwise(seen)) <= 7
    server.check()
    rest = server.service.purge()
    assert rest.whole and (rest.removals, rest.rows) == (26, 40)


def test_pushes_go_on_while_it_forgets(server: Any, monkeypatch: Any) -> None:
    """Rows that are purged are made again at the same time, from another thread."""
    monkeypatch.setattr("holdfast.server.maintenance.retention.RETENTION_BITE_ROWS", 5)
    peer = many(server, 120)
    keys = [f"p{n:04}" for n in range(120)]
    delete(peer, keys)
    server.service.purge()
    server.pass_time(LONG_S)
    failures: list[BaseException] = []

    def forget() -> None:
        try:
            assert server.service.purge(Retention()).whole
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    thread = threading.Thread(target=forget)
    thread.start()
    for key in keys:
        peer.insert("product", key, sku=f"{key} again")
        peer.sync()
    thread.join()
    assert not failures
    assert len(peer.rows) == 120
    server.check()


def test_both_stores_forget_alike(
    pair_of_servers: Callable[[], Any],
) -> None:
    """I17."""
    with pair_of_servers() as servers:
        results = []
        for server in servers:
            peer = many(server, 20)
            delete(peer, [f"p{n:04}" for n in range(3, 9)])
            peer.insert("movement", 1, store_id="1", product_id="p0000")
            peer.sync()
            done = pass_retention(server)
            peer.insert("product", "p0004", sku="again")
            peer.sync()
            server.check()
            results.append(
                (
                    done,
                    server.query("SELECT scope, head, floor, count FROM holdfast_scope ORDER BY 1"),
                    server.query("SELECT tbl, key FROM holdfast_row ORDER BY 1, 2"),
                    server.query(
                        "SELECT scope, tbl, key, version FROM holdfast_feed ORDER BY 1, 2, 3"
                    ),
                    server.query("SELECT scope, version FROM holdfast_commit ORDER BY 1, 2"),
                )
            )
        assert results[0] == results[1]


@pytest.mark.parametrize("pending", ["none", "sent", "later"])
def test_a_unique_value_that_passed_on_meanwhile_is_no_trouble(
    server: Any, tmp_path: Path, monkeypatch: Any, *, pending: str
) -> None:
    """The device still holds the row that had it, and perhaps has work on it, sent or not."""
    if pending == "later":
        monkeypatch.setattr("holdfast.replica.changes.outbox.PUSH_TRANSACTIONS_MAX", 1)
    peer = many(server, 2)
    with replica(server, tmp_path / "away.db") as away:
        away.sync()
        if pending != "none":
            for sku in ("s1", "s1") if pending == "sent" else ("other", "s1", "s1"):
                with away.transaction() as db:
                    db.execute("UPDATE product SET name = name || 'x', sku = ? WHERE id = 'p0001'",
                               (sku,))  # fmt: skip
        delete(peer, ["p0001"])
        pass_retention(server)
        peer.insert("product", "heir", sku="s1")
        peer.sync()
        report = away.sync()
        assert report.verified and report.repaired_rows == 0
        assert products(away) == {"p0000": "", "heir": ""}
        assert {item.code for item in away.refused()} <= {"row_gone", "held"}
        assert bool(away.refused()) == (pending != "none")
        assert away.verify().ok and away.status.mismatches == 0


def test_a_catch_up_that_comes_as_a_file_reconciles_too(server: Any, tmp_path: Path) -> None:
    peer = many(server, 60)
    with replica(server, tmp_path / "away.db") as away:
        away.sync()
    delete(peer, ["p0003", "p0004"])
    pass_retention(server)
    peer.commit(
        *(peer.change("update", "product", f"p{n:04}", {"name": "new"}) for n in range(10, 50))
    )
    peer.sync()
    server.service = Service(
        server.schema, server.store, now_us=server.tick, random_bytes=server.random,
        files=FilePolicy(catchup_rows_min=20),
    ).begin()  # fmt: skip
    with replica(server, tmp_path / "away.db") as away:
        report = away.sync()
        assert report.verified and (report.reconciled_rows, report.repaired_rows) == (2, 0)
        assert away.status.mismatches == 0 and len(products(away)) == 58
