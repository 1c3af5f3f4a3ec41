"""Many writers on one PostgreSQL: versions appear in order, and no cursor ever skips one.

Checks I11.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast.core.errors import DatabaseBusy, DatabaseReadOnly
from holdfast.protocol.messages import Origin
from holdfast.server.store.contract import TryAgain
from holdfast.testing import wait_until
from holdfast.testing.postgres import PostgresCluster, scratch_schema

HARNESS = Path(__file__).with_name("conftest.py")


@pytest.fixture
def make(postgres_url: str) -> Iterator[Callable[..., Any]]:
    """Servers on one database."""
    made: list[Any] = []

    def new(**options: Any) -> Any:
        server = harness().Server(postgres_url, seed=len(made) + 1, **options)
        made.append(server)
        return server

    yield new
    for server in made:
        server.close()


def harness() -> Any:
    return sys.modules["engine.tests.unit.server.conftest"]


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run something beside the test; its result, or what it raised."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


class Gate:
    """A rule that holds the transactions of one device until it is opened."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, context: Any) -> None:
        if context.principal.device == self.device:
            self.reached.set()
            assert self.open.wait(30)


def waiting(url: str, count: int) -> bool:
    """Whether so many sessions wait for a lock."""
    with psycopg.connect(url, autocommit=True) as db:
        ((found,),) = db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database() AND query LIKE '%holdfast_scope%'"
        ).fetchall()
        return bool(found >= count)


def test_a_transaction_held_open_for_long_is_never_skipped(make: Any) -> None:
    gate = Gate("slow")
    slow_server, quick_server = make(rules=[gate]), make()
    reader = quick_server.peer("reader")
    setter = quick_server.peer("setter")
    setter.insert("task", "t0", store_id="1")
    setter.insert("task", "t9", store_id="2")
    setter.sync()
    reader.sync()
    slow = slow_server.peer("slow", write=("store/1",))
    slow.insert("shelf", ("1", b"x"), label="slow")
    held, first = in_thread(slow.sync)
    assert gate.reached.wait(30)
    other = quick_server.peer("other", write=("store/2",))
    other.insert("shelf", ("2", b"y"), label="quick")
    assert [o.outcome for o in other.sync()] == ["applied"]  # another scope does not wait
    reader.sync()
    assert reader.row("shelf", ("2", b"y")) is not None
    assert reader.checkpoint["store/1"].version == 1
    same = quick_server.peer("same", write=("store/1",))
    same.insert("shelf", ("1", b"z"), label="after")
    behind, second = in_thread(same.sync)
    wait_until(lambda: waiting(str(quick_server.path), 1), what="the second writer to wait")
    reader.sync()
    assert reader.checkpoint["store/1"].version == 1
    gate.open.set()
    held.join()
    behind.join()
    assert [o.outcome for o in first[0]] == [o.outcome for o in second[0]] == ["applied"]
    assert slow.outcomes[1].versions == {"store/1": 2}
    assert same.outcomes[1].versions == {"store/1": 3}
    reader.sync()
    assert reader.row("shelf", ("1", b"x")) is not None
    assert reader.row("shelf", ("1", b"z")) is not None
    quick_server.check()


def test_transactions_that_need_each_others_scopes_both_end(make: Any) -> None:
    one_server, two_server = make(), make()
    setter = one_server.peer("setter")
    for number in range(20):
        setter.insert("task", f"a{number}", store_id="1")
        setter.insert("task", f"b{number}", store_id="2")
    setter.sync()
    peers = [one_server.peer("one"), two_server.peer("two")]
    for peer in peers:
        peer.sync()
    for number in range(20):
        peers[0].update("task", f"a{number}", store_id="2")
        peers[1].update("task", f"b{number}", store_id="1")
        runs = [in_thread(peer.sync) for peer in peers]
        for thread, _ in runs:
            thread.join()
        assert [[o.outcome for o in results[0]] for _, results in runs] == [["applied"]] * 2
    one_server.check()


def test_two_inserts_of_one_key_into_different_scopes(make: Any) -> None:
    """No scope lock keeps them apart: the later one sees the other and merges with it."""
    gate = Gate("one")
    one_server, two_server = make(rules=[gate]), make()
    first = two_server.peer("zero")
    first.insert("product", "p", sku="s")
    first.sync()
    one, two = one_server.peer("one"), two_server.peer("two")
    one.insert("movement", 7, store_id="1", product_id="p", quantity=1)
    held, results = in_thread(one.sync)
    assert gate.reached.wait(30)
    two.insert("movement", 7, store_id="2", product_id="p", quantity=2)
    assert [o.outcome for o in two.sync()] == ["applied"]
    gate.open.set()
    held.join()
    assert [o.outcome for o in results[0]] == ["applied"]
    two.sync()
    assert one.rows == two.rows
    assert one_server.query("SELECT count(*) FROM movement") == [(1,)]
    one_server.check()


@pytest.mark.parametrize("processes", [1, 2])
def test_copies_that_push_the_same_work_at_once_do_it_once(make: Any, processes: int) -> None:
    """None of them has the name that the other has; the later one waits, and finds it done."""
    gate, reached = threading.Event(), threading.Event()

    def hold_the_first(_: Any) -> None:
        if not reached.is_set():
            reached.set()
            assert gate.wait(30)

    quick = make()
    slow = make(rules=[hold_the_first])
    till = quick.peer("till")
    till.insert("product", "p", sku="s", on_hand=5)
    till.sync()
    till.commit(till.change("update", "product", "p", {"on_hand": -1}))
    copies = []
    for number, server in enumerate((slow, quick if processes == 2 else slow), start=1):
        copy = dataclasses.replace(
            till, server=server,
            pending=list(till.pending), rows=dict(till.rows), checkpoint=dict(till.checkpoint),
            grants=dict(till.grants), outcomes=dict(till.outcomes), heads=[],
        )  # fmt: skip
        copy.origin = Origin("till", till.number)
        copy.replica, copy.nonce, copy.proposed = f"{number:032x}", "", ""
        copies.append(copy)
    first, held = in_thread(copies[0].sync)
    assert reached.wait(30)
    second, behind = in_thread(copies[1].sync)
    wait_until(lambda: behind or locked(str(quick.path)), what="the second copy to wait or to end")
    gate.set()
    first.join()
    second.join()
    assert [o.outcome for o in (*held[0], *behind[0])] == ["applied"] * 2
    assert sorted(o.known for o in (*held[0], *behind[0])) == [False, True]
    assert quick.query("SELECT on_hand FROM product") == [(4,)]
    quick.check()


def locked(url: str) -> bool:
    """Whether a session waits for a lock."""
    with psycopg.connect(url, autocommit=True) as db:
        ((found,),) = db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        ).fetchall()
        return bool(found)


def test_a_parent_that_goes_while_a_child_comes(make: Any) -> None:
    gate = Gate("one")
    one_server, two_server = make(rules=[gate]), make()
    two = two_server.peer("two")
    two.insert("product", "p", sku="s")
    two.sync()
    one = one_server.peer("one", write=("store/1",))
    one.insert("movement", 7, store_id="1", product_id="p")
    held, results = in_thread(one.sync)
    assert gate.reached.wait(30)
    two.delete("product", "p")
    assert [o.outcome for o in two.sync()] == ["applied"]
    gate.open.set()
    held.join()
    assert [(o.outcome, o.code) for o in results[0]] == [("refused", "foreign_key")]
    one_server.check()


WRITER = """
import importlib.util, random, sys, threading, time
spec = importlib.util.spec_from_file_location("harness", sys.argv[1])
harness = importlib.util.module_from_spec(spec)
sys.modules["harness"] = harness
spec.loader.exec_module(harness)
name = sys.argv[3]
chance = random.Random(name)
def linger(context):
    time.sleep(chance.choice((0, 0, 0.001, 0.02)))
server = harness.Server(sys.argv[2], seed=int(name) + 100, rules=[linger])
def work(number):
    peer = server.peer(f"d{name}-{number}")
    own = random.Random(f"{name}/{number}")
    for step in range(25):
        for _ in range(own.randint(1, 4)):
            key, store = f"k{own.randint(0, 30)}", str(own.randint(1, 4))
            if ("task", key) in peer.rows:
                peer.update("task", key, **own.choice(({"store_id": store}, {"text": f"{step}"})))
            else:
                peer.insert("task", key, store_id=store)
        peer.insert("shelf", (store, f"{name}/{number}/{step}".encode()), label="x")
        outcomes = peer.sync()
        assert {o.outcome for o in outcomes if o.code != "duplicate_change"} == {"applied"}
threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
failed = []
threading.excepthook = lambda args: (failed.append(args), sys.__excepthook__(*args[:3]))
for thread in threads: thread.start()
for thread in threads: thread.join()
server.close()
sys.exit(bool(failed))
"""


@pytest.mark.slow
def test_many_writers_in_many_processes(make: Any) -> None:
    """Readers prove the digest of all they hold after each pull: what was skipped would show."""
    server = make()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(HARNESS), str(server.path), str(number)],
            stderr=subprocess.PIPE,
        )
        for number in range(3)
    ]
    readers = [server.peer("r0"), server.peer("r1", read=("store/1", "tasks"))]
    pulls = 0
    while any(writer.poll() is None for writer in writers):
        for reader in readers:
            reader.sync()
            pulls += 1
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors.decode()
    for reader in readers:
        reader.sync()
    assert pulls > 10
    assert len([key for name, key in readers[0].rows if name == "shelf"]) == 3 * 2 * 25
    assert (
        server.query(
            "SELECT s.scope FROM holdfast_scope AS s JOIN holdfast_commit AS c USING (scope) "
            "GROUP BY s.scope, s.head HAVING count(*) <> s.head + 1 OR max(c.version) <> s.head"
        )
        == []
    )
    server.check()


# Direct writes


def test_a_direct_write_during_a_push_is_not_lost(make: Any) -> None:
    gate = Gate("one")
    server = make(rules=[gate])
    other = server.peer("two")
    other.insert("product", "p", sku="s")
    other.sync()
    one = server.peer("one")
    gate.open.set()
    one.sync()
    gate.open.clear()
    gate.reached.clear()
    one.update("product", "p", name="pushed", on_hand=5)
    held, results = in_thread(one.sync)
    assert gate.reached.wait(30)
    server.sql("UPDATE product SET note = 'direct', on_hand = on_hand + 1 WHERE id = 'p'")
    server.sql("INSERT INTO product (id, sku) VALUES ('q', 'q')")
    gate.open.set()
    held.join()
    assert [o.outcome for o in results[0]] == ["applied"]
    other.sync()
    row = other.row("product", "p")
    assert (row["name"], row["note"], row["on_hand"]) == ("pushed", "direct", 6)
    server.check()


def test_bulk_statements_copy_and_truncate_are_noted(make: Any, postgres_cluster: Any) -> None:
    server = make()
    one = server.peer()
    one.insert("shelf", ("1", b"a\x00b"), label='it\'s "x" \\', full=1)
    one.insert("task", "t", store_id="1")
    one.sync()
    url = str(server.path)
    postgres_cluster.sql("\\copy product (id, sku) FROM stdin\nc1\ts1\nc2\ts2\n\\.\n", url)
    postgres_cluster.sql(
        "INSERT INTO product (id, sku) VALUES ('c1', 's1'), ('c3', 's3') "
        "ON CONFLICT (id) DO UPDATE SET name = 'again'", url
    )  # fmt: skip
    one.sync()
    assert one.row("product", "c1")["name"] == "again"
    assert one.row("product", "c3") is not None
    postgres_cluster.sql("SET bytea_output = 'escape'; UPDATE shelf SET label = 'new'", url)
    postgres_cluster.sql("TRUNCATE task, product CASCADE", url)
    one.sync()
    assert one.row("task", "t") is None
    assert one.row("product", "c1") is None
    assert one.row("shelf", ("1", b"a\x00b"))["label"] == "new"
    with pytest.raises(subprocess.CalledProcessError, match="exit status"):
        postgres_cluster.sql("UPDATE shelf SET code = 'x'", url)
    server.check()


# Failures


def test_a_connection_lost_inside_commit(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make()
    one = server.peer()
    one.insert("product", "p", sku="s", on_hand=5)
    commit = server.store._commit
    for committed in (True, False):
        lost: list[bool] = []

        def lose(db: Any, *, committed: bool = committed, lost: list[bool] = lost) -> None:
            if lost or committed:
                commit(db)
            if not lost:
                lost.append(True)
                db.close()
                raise TryAgain("the connection is gone")

        monkeypatch.setattr(server.store, "_commit", lose)
        assert [o.outcome for o in one.sync()] == ["applied"]
        assert lost
        one.update("product", "p", on_hand=1)
    monkeypatch.undo()
    one.sync()
    assert server.query("SELECT on_hand FROM product") == [(7,)]
    assert server.query("SELECT head FROM holdfast_scope WHERE scope = 'catalog'") == [(3,)]
    server.check()


def test_a_session_that_is_ended_is_tried_again(make: Any) -> None:
    gate = Gate("one")
    server = make(rules=[gate])
    one = server.peer("one")
    one.insert("product", "p", sku="s")
    run, results = in_thread(one.sync)
    assert gate.reached.wait(30)
    # While the rule is asked: the transaction that writes is ended, and no later one that reads.
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE state = 'idle in transaction' AND datname = current_database()"
    )
    gate.open.set()
    run.join()
    assert [o.outcome for o in results[0]] == ["applied"]
    server.check()


def test_a_full_or_read_only_database_says_so(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make()
    one = server.peer()
    one.insert("product", "p", sku="s")
    monkeypatch.setattr(
        "holdfast.server.store.postgres.store._BEGIN_WRITE",
        "BEGIN READ ONLY; SELECT pg_current_snapshot()::text, false",
    )
    with pytest.raises(DatabaseReadOnly):
        one.sync()
    monkeypatch.undo()
    one.sync()
    assert one.row("product", "p") is not None


def test_when_no_connection_is_free(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make()
    one = server.peer()
    one.sync()
    one.insert("product", "p", sku="s")
    monkeypatch.setattr(server.store._writers, "timeout", 0.1)
    pool = server.store._writers
    taken = [pool.getconn(timeout=10) for _ in range(pool.max_size)]
    with pytest.raises(DatabaseBusy):
        one.sync()
    for connection in taken:
        pool.putconn(connection)
    one.sync()


@pytest.mark.slow
def test_the_database_restarts_under_the_server() -> None:
    with PostgresCluster(durable=True) as cluster, scratch_schema(cluster) as url:
        server = harness().Server(url)
        one = server.peer()
        one.insert("product", "p", sku="s")
        one.sync()
        cluster.stop()
        cluster.start()
        one.update("product", "p", name="after")
        server.reader.close()
        server.reader = psycopg.connect(url, autocommit=True)
        assert [o.outcome for o in one.sync()] == ["applied"]
        server.check()
        server.close()
