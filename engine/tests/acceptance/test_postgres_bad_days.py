"""PostgreSQL has a bad day: devices are told 503 with a stable code, keep their work, and go on.

Checks I33.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast import Replica, SyncError
from holdfast.schema.load import load_schema
from holdfast.testing import ServerProcess, wait_until
from holdfast.testing.postgres import PostgresCluster

pytestmark = pytest.mark.acceptance

COUNTER = Path(__file__).parents[3] / "examples" / "counter"
SCHEMA = load_schema(str(COUNTER / "schema.json"))
SET_UP = "INSERT INTO stock (sku, name, price, on_hand) VALUES ('mug', 'Mug', 850, 1000)"
WAIT_S = 60


class Shop:
    """One database, one server process and the devices of the counter example."""

    def __init__(self, cluster: PostgresCluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.database = cluster.make_database()
        self.server = self.make_server("server")
        self.devices: list[Replica] = []

    def make_server(self, name: str, *, database: str = "", schema: Path | None = None) -> Any:
        command = [
            sys.executable, "-m", "holdfast.cli", "serve", "--port", "{port}",
            "--schema", str(schema or COUNTER / "schema.json"),
            "--database", database or self.database, "--tokens", str(COUNTER / "tokens.toml"),
        ]  # fmt: skip
        return ServerProcess(command, log_path=self.folder / f"{name}.log")

    def device(self, name: str) -> Replica:
        replica = Replica.open(
            self.folder / f"{name}.db", SCHEMA, server=self.server.url, token=f"token-{name}"
        )
        self.devices.append(replica)
        return replica

    def sql(self, script: str) -> str:
        return self.cluster.sql(script, self.database)

    def sell(self, replica: Replica, times: int = 1) -> None:
        for _ in range(times):
            with replica.transaction() as db:
                db.execute("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'mug'")

    def refused(self, replica: Replica, code: str) -> None:
        """One attempt is told this code, by the server, and loses nothing."""
        pending = replica.status.pending
        with pytest.raises(SyncError) as told:
            replica.sync()
        assert (told.value.code, told.value.detail["status"]) == (code, 503), told.value
        assert told.value.retry_after_ms
        assert replica.status.pending + replica.status.sent >= pending > 0

    def recovered(self, on_hand: int) -> None:
        """All devices get through, and everything is there once."""
        for replica in (*self.devices, *self.devices):
            wait_until(lambda r=replica: synced(r), WAIT_S, "a sync that succeeds", poll_s=0.1)  # type: ignore[misc]  # it binds the name
        for replica in self.devices:
            assert replica.query("SELECT on_hand FROM stock WHERE sku = 'mug'") == [(on_hand,)]
            assert replica.status.pending == replica.status.refused == 0
            assert replica.verify().ok
        assert self.sql("SELECT on_hand FROM stock WHERE sku = 'mug'").strip() == str(on_hand)

    def close(self) -> None:
        for replica in self.devices:
            replica.close()
        self.server.close()


def synced(replica: Replica) -> bool:
    try:
        return replica.sync().verified
    except SyncError:
        return False


@pytest.fixture
def make_shop(tmp_path: Path) -> Iterator[Callable[[PostgresCluster], Shop]]:
    made: list[Shop] = []

    def make(cluster: PostgresCluster) -> Shop:
        shop = Shop(cluster, tmp_path)
        made.append(shop)
        shop.server.start()
        a = shop.device("a")
        with a.transaction() as db:
            db.execute(SET_UP)
        a.sync()
        return shop

    yield make
    for shop in made:
        shop.close()


@pytest.fixture
def shop(make_shop: Any, postgres_cluster: PostgresCluster) -> Shop:
    return make_shop(postgres_cluster)  # type: ignore[no-any-return]


@pytest.fixture
def own_cluster() -> Iterator[PostgresCluster]:
    """A cluster that can be stopped without harm to other tests."""
    with PostgresCluster(durable=True, settings={"max_connections": "40"}) as cluster:
        yield cluster


def test_a_read_only_database(shop: Shop) -> None:
    (a,) = shop.devices
    shop.sell(a)
    name = shop.database.rpartition("/")[2]
    shop.cluster.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    end_sessions(shop)
    shop.refused(a, "database_read_only")
    shop.cluster.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    end_sessions(shop)
    shop.recovered(999)


def end_sessions(shop: Shop) -> None:
    name = shop.database.rpartition("/")[2]
    shop.cluster.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    )


def test_sessions_ended_at_random_under_load(shop: Shop) -> None:
    """Exactly once afterwards: each sale is one of the 120 that are missing."""
    a, b = shop.devices[0], shop.device("b")
    b.sync()
    done = threading.Event()

    def work(replica: Replica) -> None:
        for _ in range(30):
            shop.sell(replica, 2)
            synced(replica)

    def end() -> None:
        while not done.wait(0.05):
            end_sessions(shop)

    with ThreadPoolExecutor(3) as pool:
        ending = pool.submit(end)
        try:
            for future in [pool.submit(work, replica) for replica in (a, b)]:
                future.result()
        finally:
            done.set()
        ending.result()
    shop.recovered(880)
    assert shop.sql("SELECT count(*) FROM holdfast_applied").strip() == "121"


def test_stopped_at_once_and_started_again_under_load(
    make_shop: Any, own_cluster: PostgresCluster
) -> None:
    shop = make_shop(own_cluster)
    a, b = shop.devices[0], shop.device("b")
    b.sync()
    a.start()
    b.start()
    for _ in range(2):
        shop.sell(a, 10)
        shop.sell(b, 10)
        own_cluster.stop(signal.SIGQUIT)
        shop.sell(a, 5)
        wait_until(
            lambda: a.status.state in ("waiting", "offline"), WAIT_S, "a device that is told so"
        )
        own_cluster.start()
    for replica in (a, b):  # by itself
        wait_until(lambda r=replica: r.status.pending == 0, WAIT_S, "work that gets through")  # type: ignore[misc]  # it binds the name
        replica.stop()
    shop.recovered(950)


def test_time_outs_of_the_database(shop: Shop) -> None:
    """Statement, lock, idle: each is told as busy or tried again, and passes."""
    (a,) = shop.devices
    name = shop.database.rpartition("/")[2]
    shop.sell(a)
    with psycopg.connect(shop.database) as other:  # somebody holds the row, and their lock
        other.execute("SELECT * FROM holdfast_scope FOR UPDATE")
        shop.cluster.sql(f"ALTER DATABASE {name} SET statement_timeout = '300ms'")
        end_sessions_but(shop, other)
        shop.refused(a, "database_busy")
    shop.cluster.sql(f"ALTER DATABASE {name} RESET statement_timeout")
    for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
        shop.cluster.sql(f"ALTER DATABASE {name} SET {setting} = '100ms'")
    end_sessions(shop)
    for _ in range(3):
        shop.sell(a)
        wait_until(lambda: shop.sql("SELECT 1").strip() == "1" and synced(a), WAIT_S, "a sync")
    shop.recovered(996)


def end_sessions_but(shop: Shop, kept: psycopg.Connection[Any]) -> None:
    name = shop.database.rpartition("/")[2]
    shop.cluster.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
        f"datname = '{name}' AND pid NOT IN (pg_backend_pid(), {kept.info.backend_pid})"
    )


def test_deadlocks_with_direct_writers(shop: Shop) -> None:
    """Back-office transactions that take rows in the other order: one of both is begun again."""
    a = shop.devices[0]
    with a.transaction() as db:
        db.execute("INSERT INTO stock (sku, name, on_hand) VALUES ('cup', 'Cup', 0)")
    a.sync()
    shop.sql(f"ALTER DATABASE {shop.database.rpartition('/')[2]} SET deadlock_timeout = '50ms'")
    end_sessions(shop)
    ended = threading.Event()
    lost: list[str] = []

    def office() -> None:
        with psycopg.connect(shop.database, autocommit=True) as db:
            while not ended.is_set():
                try:
                    with db.transaction():
                        for sku in ("mug", "cup"):
                            db.execute(
                                "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = %s", (sku,)
                            )
                except psycopg.errors.DeadlockDetected:
                    lost.append("again")
                ended.wait(0.02)  # or it would hold the rows all the time

    thread = threading.Thread(target=office)
    thread.start()
    try:
        for _ in range(8):
            with a.transaction() as db:
                db.execute("UPDATE stock SET on_hand = on_hand - 1")
            wait_until(lambda: synced(a), WAIT_S, "a sync beside direct writes")
    finally:
        ended.set()
        thread.join()
    wait_until(lambda: synced(a), WAIT_S, "the last sync")
    rows = shop.sql("SELECT on_hand FROM stock ORDER BY sku").split()
    assert int(rows[1]) - int(rows[0]) == 1000, "both rows had the same done to them"
    assert [str(row[0]) for row in a.query("SELECT on_hand FROM stock ORDER BY sku")] == rows
    assert a.verify().ok


def test_no_connection_is_left(make_shop: Any, own_cluster: PostgresCluster) -> None:
    shop = make_shop(own_cluster)
    (a,) = shop.devices
    shop.sell(a)
    taken: list[psycopg.Connection] = []
    end_sessions(shop)
    with contextlib.suppress(psycopg.OperationalError):  # until there are no more
        while len(taken) < 100:
            taken.append(psycopg.connect(shop.database))
    assert 10 < len(taken) < 100
    shop.refused(a, "database_busy")
    for connection in taken:
        connection.close()
    shop.recovered(999)


@pytest.mark.parametrize("count", [2, 6])
def test_processes_that_open_one_empty_database_at_once(
    postgres_cluster: PostgresCluster, tmp_path: Path, count: int
) -> None:
    shop = Shop(postgres_cluster, tmp_path)
    servers = [shop.make_server(f"server-{number}") for number in range(count)]
    try:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda server: server.start(), servers))
        assert shop.sql("SELECT count(*) FROM holdfast_state").strip() == "1"
        shop.server = servers[0]
        a = shop.device("a")
        with a.transaction() as db:
            db.execute(SET_UP)
        a.sync()
        shop.server = servers[-1]
        shop.device("b").sync()
        shop.sell(a)
        shop.recovered(999)
    finally:
        for replica in shop.devices:
            replica.close()
        for server in servers:
            server.close()


def test_a_server_of_a_newer_schema_takes_over_under_load(shop: Shop, tmp_path: Path) -> None:
    """The old process may not write any more: what it computes has not all the columns."""
    (a,) = shop.devices
    newer = json.loads((COUNTER / "schema.json").read_text())
    newer["generation"] = 2
    newer["tables"][0]["columns"].append({"name": "shelf", "type": "text", "default": ""})
    path = tmp_path / "newer.json"
    path.write_text(json.dumps(newer))
    codes: list[str] = []
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            shop.sell(a)
            try:
                a.sync()
            except SyncError as error:
                codes.append(error.code)

    thread = threading.Thread(target=load)
    thread.start()
    new = shop.make_server("newer", schema=path)
    try:
        new.start()
        wait_until(lambda: "schema_moved" in codes, WAIT_S, "the old process to be told")
        ended.set()
        thread.join()
        assert set(codes) <= {"schema_moved", "database_busy"}, codes
        sold = 1000 - int(shop.sql("SELECT on_hand FROM stock").strip())
        with Replica.open(
            tmp_path / "new.db", load_schema(str(path)), server=new.url, token="token-b"
        ) as b:
            assert b.sync().verified
            assert b.verify().ok
            assert b.query("SELECT on_hand, shelf FROM stock") == [(1000 - sold, "")]
        assert a.status.pending + a.status.sent > 0, "its work is kept"
    finally:
        ended.set()
        thread.join()
        new.close()


SMALL_MIB = 24


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A small file system where PostgreSQL's user can go, unlike into pytest's folders."""
    where = Path(tempfile.mkdtemp(prefix="holdfast-small-"))
    where.chmod(0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m,mode=777", "tmpfs", str(where)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)
    where.rmdir()


def test_a_full_disk(make_shop: Any, own_cluster: PostgresCluster, small_disk: Path) -> None:
    """A push is told so, news still come down, and it goes on when there is room again."""
    space = small_disk / "space"
    space.mkdir()
    shutil.chown(space, "postgres")
    own_cluster.sql(f"CREATE TABLESPACE small LOCATION '{space}'")
    own_cluster.sql("ALTER SYSTEM SET default_tablespace = 'small'")
    own_cluster.sql("SELECT pg_reload_conf()")
    shop = make_shop(own_cluster)
    a, b = shop.devices[0], shop.device("b")
    b.sync()
    shop.sell(a)
    a.sync()
    filler = fill(small_disk)
    with a.transaction() as db:
        for number in range(200):
            name = f"{number}" + "x" * 5_000
            db.execute("INSERT INTO stock (sku, name) VALUES (?, ?)", [f"s{number}", name])
    before = shop.sql("SELECT count(*), max(high) FROM stock, holdfast_replica")
    shop.refused(a, "database_full")
    assert shop.sql("SELECT count(*), max(high) FROM stock, holdfast_replica") == before
    assert synced(b), "who has nothing to say is told the news"
    assert b.query("SELECT on_hand FROM stock") == [(999,)]
    filler.unlink()
    shop.recovered(999)
    assert b.query("SELECT count(*) FROM stock") == [(201,)]


def test_a_full_disk_when_the_tables_are_made(
    own_cluster: PostgresCluster, small_disk: Path, tmp_path: Path
) -> None:
    """Nothing is half made: the next start makes all of it."""
    space = small_disk / "space"
    space.mkdir()
    shutil.chown(space, "postgres")
    own_cluster.sql(f"CREATE TABLESPACE small LOCATION '{space}'")
    shop = Shop(own_cluster, tmp_path)
    name = shop.database.rpartition("/")[2]
    own_cluster.sql(f"ALTER DATABASE {name} SET default_tablespace = 'small'")
    filler = fill(small_disk)
    with pytest.raises(RuntimeError, match="database_full"):
        shop.server.start()
    assert shop.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").strip() == "0"
    filler.unlink()
    try:
        shop.server.start()
        a = shop.device("a")
        with a.transaction() as db:
            db.execute(SET_UP)
        shop.recovered(1000)
    finally:
        shop.close()


def fill(where: Path) -> Path:
    """Take all the space there is."""
    filler = where / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    return filler
