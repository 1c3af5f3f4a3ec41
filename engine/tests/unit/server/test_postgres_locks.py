"""Pushes and direct writes on PostgreSQL lock in one order: nobody waits in a circle.

Checks I11.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from holdfast.core.errors import DatabaseBusy
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.assembly import Server, open_server
from holdfast.server.direct.direct_writes import BeingTakenIn
from holdfast.testing import wait_until
from holdfast.testing.postgres import PostgresCluster

pytestmark = pytest.mark.slow

ROWS = 12
ROUNDS = 25


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    """One that looks for circles at once."""
    with PostgresCluster(settings={"deadlock_timeout": "20ms"}) as cluster:
        yield cluster


@pytest.fixture
def make(cluster: PostgresCluster) -> Iterator[Callable[[], Any]]:
    """Servers on one database."""
    url, made = cluster.make_database(), list[Any]()

    def new() -> Any:
        harness = sys.modules["engine.tests.unit.server.conftest"]
        made.append(harness.Server(url, seed=len(made) + 1))
        return made[-1]

    yield new
    for server in made:
        server.close()


class Crowd:
    """Threads that work until the first group is done; what they raised comes out at the end."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []
        self.over = threading.Event()

    def start(self, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - told at the end
                self._errors.append(error)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def end(self, working: int) -> None:
        for thread in self._threads[:working]:
            thread.join()
        self.over.set()
        for thread in self._threads:
            thread.join()
        assert self._errors == []


def persistent(peer: Any) -> None:
    """Exchange until it is taken, with pauses as a device makes them: a database may be busy."""
    told = []
    for attempt in range(100):
        try:
            peer.sync()
        except (DatabaseBusy, BeingTakenIn) as error:
            told.append(f"{error.code}: {error}")
            time.sleep(min(0.02 * 2**attempt, 1))
            continue
        return
    raise AssertionError(f"never taken: {told[-3:]}")


def pushing(server: Any, name: str, sold: list[int]) -> Callable[[], None]:
    peer, own = server.peer(name), random.Random(name)

    def work() -> None:
        persistent(peer)
        for step in range(ROUNDS):
            for key in own.sample(range(ROWS), own.choice((1, 4))):
                peer.update("product", f"p{key}", note=f"{name} {step}", on_hand=1)
                sold.append(1)
            store = str(own.randint(1, 3))
            peer.insert("shelf", (store, f"{name}/{step}".encode()))
            persistent(peer)

    return work


def writing(server: Any, crowd: Crowd, most: int) -> Callable[[], None]:
    """Transactions of another program, of 1 to ``most`` rows in any order."""
    own = random.Random(most)

    def work() -> None:
        with psycopg.connect(str(server.path)) as db:
            while not crowd.over.is_set():
                for key in own.sample(range(ROWS), own.randint(1, most)):
                    db.execute(f"UPDATE product SET rank = rank % 90 + 1 WHERE id = 'p{key}'")
                db.commit()
                crowd.over.wait(own.uniform(0.05, 0.4))

    return work


def test_pushes_and_direct_writes_do_not_wait_in_a_circle(
    cluster: PostgresCluster, make: Callable[[], Any]
) -> None:
    before = cluster.log.count("deadlock detected")
    servers = [make() for _ in range(4)]
    setter = servers[0].peer("setter")
    for number in range(ROWS):
        setter.insert("product", f"p{number}", sku=f"s{number}")
    setter.sync()
    crowd = Crowd()
    sold: list[int] = []
    for number, server in enumerate(servers):
        crowd.start(pushing(server, f"d{number}", sold))
    crowd.start(writing(servers[0], crowd, 1))
    crowd.start(writing(servers[0], crowd, 5))
    crowd.end(len(servers))
    assert cluster.log.count("deadlock detected") == before
    persistent(setter)
    for server in servers:
        server.check()
    ((counted,),) = servers[0].query("SELECT sum(on_hand) FROM product")
    assert counted == sum(sold)


def _waiting(url: str, count: int) -> None:
    """Wait until so many wait for a lock."""
    with psycopg.connect(url, autocommit=True) as db:
        wait_until(
            lambda: (
                db.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (count,)
            ),
            what="the locks",
        )


def test_a_server_that_opens_goes_on_after_a_circle(cluster: PostgresCluster) -> None:
    """Somebody has one of the tables that get a column, and wants the other; the server is the one
    whom the database sends away."""
    url = cluster.make_database()
    before, after = (
        tuple(
            Table(name=name, key=("id",), columns=columns, scopes=("all",)) for name in ("a", "b")
        )
        for columns in ((Column("id"),), (Column("id"), Column("n", default="")))
    )
    open_server(Schema(name="circle", tables=before), url, lambda _headers: None).close()
    circles = cluster.log.count("deadlock detected")
    opened: list[Server] = []
    new = Schema(name="circle", tables=after, generation=2)
    with psycopg.connect(url) as first, psycopg.connect(url) as writer:
        first.execute("INSERT INTO a VALUES ('first')")
        writer.execute("SET deadlock_timeout = '10min'")  # the other one finds the circle
        writer.execute("INSERT INTO b VALUES ('x')")
        opening = threading.Thread(
            target=lambda: opened.append(open_server(new, url, lambda _headers: None))
        )
        opening.start()
        _waiting(url, 1)  # for a, which `first` has
        going_on = threading.Thread(target=lambda: writer.execute("INSERT INTO a VALUES ('x')"))
        going_on.start()
        _waiting(url, 2)
        first.commit()
        going_on.join(60)
        writer.commit()
        opening.join(60)
    assert cluster.log.count("deadlock detected") == circles + 1
    (server,) = opened
    server.close()
    with psycopg.connect(url) as db:
        rows = db.execute("SELECT id, n FROM a UNION ALL SELECT id, n FROM b ORDER BY 1, 2")
        assert rows.fetchall() == [("first", ""), ("x", ""), ("x", "")]
