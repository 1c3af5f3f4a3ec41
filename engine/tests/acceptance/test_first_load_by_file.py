"""A first load comes as a file: over kills and cuts at any point, writes meanwhile and work before.

I10, I16: the rows are there whole or not at all. I14, I15, I32: what the device has written before
is still there. I31, I35: nothing is left in the folder of files, and two processes fetch it once.

Checks I10, I14, I15, I16, I31, I32, I35.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from typing import Any, Self

import apsw
import pytest

from holdfast import Replica
from holdfast.core.errors import DatabaseFull, Offline
from holdfast.core.limits import READ_TIMEOUT_MS, SNAPSHOT_ROWS_MIN
from holdfast.core.session import SessionConfig
from holdfast.replica.host import Host
from holdfast.replica.load.first_load import Loading
from holdfast.replica.runner import RunnerOptions
from holdfast.testing import wait_until

pytestmark = pytest.mark.acceptance

ROWS = SNAPSHOT_ROWS_MIN + 1000
FILL = (
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
    "INSERT INTO stock (sku, name, on_hand) "
    "SELECT printf('p%06d', i), hex(randomblob(12)), i FROM n"
)


def fill(world: Any, rows: int = ROWS) -> None:
    world.shell(world.database, FILL.format(last=rows - 1))


def prepare(world: Any, device: Any) -> None:
    """Have the file made before what is tested begins."""
    device.sync()
    assert len(list(world.path.glob("server.db-files/*"))) > 0, "it came without a file"


def folder(device: Any) -> Any:
    return device.file.with_name(device.file.name + "-files")


@pytest.fixture
def filled(world: Any) -> Any:
    fill(world)
    prepare(world, world.device("b", "token-b", met=False))
    return world


@pytest.mark.parametrize(
    "point",
    ["files.mid:1", "files.mid:3", "files.downloaded:1", "import.mid:1", "import.mid:2",
     "apply.before_commit:1", "apply.after_commit:1"],
)  # fmt: skip
def test_killed_at_each_point_it_is_done_again(filled: Any, point: str) -> None:
    a = filled.device("a", "token-a", met=False)
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('mine', 3), ('p000007', 5)")
    killed = a.cli("sync", env={"HOLDFAST_FAILPOINT": point})
    assert killed.code == -9, killed.err
    arrived = point.startswith("apply.after")
    rows = ROWS + 1 if arrived else 2
    assert a.query("SELECT count(*) FROM stock") == [(rows,)], "half of it is there"
    a.sync()
    assert not folder(a).exists()
    assert a.query("SELECT on_hand FROM stock WHERE sku = 'p000007'") == [(12,)]
    assert a.query("SELECT count(*) FROM stock") == [(ROWS + 1,)]
    filled.check_equal(a)
    a.shell("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'p000007'")
    assert a.status()["pending"] == 1, "capture is not what it was"
    a.sync()
    filled.check_equal(a)
    with a.opened() as replica:
        assert replica.verify().ok


def test_a_disk_that_is_full_while_it_imports_is_given_back(filled: Any) -> None:
    a = filled.device("a", "token-a", met=False)
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('mine', 3), ('p000007', 5)")
    with a.opened() as replica:
        db = replica._database.sync  # its limit is this connection's alone
        ((most,),) = db.execute("PRAGMA max_page_count")
        ((pages,),) = db.execute("PRAGMA page_count")
        db.execute(f"PRAGMA max_page_count = {pages + 50}")
        with pytest.raises(DatabaseFull):
            replica.sync()
        assert not folder(a).exists()
        assert replica.query("SELECT count(*) FROM stock") == [(2,)]
        with replica.transaction() as work:
            work.execute("UPDATE stock SET name = 'on' WHERE sku = 'mine'")
        db.execute(f"PRAGMA max_page_count = {most}")
        replica.sync()
    assert a.query("SELECT count(*) FROM stock") == [(ROWS + 1,)]
    filled.check_equal(a)


def test_after_a_kill_only_what_is_missing_is_fetched(filled: Any) -> None:
    with Cutter(filled.port) as cutter:
        a = filled.device("a", "token-a", url=cutter.url, met=False)
        assert a.cli("sync", env={"HOLDFAST_FAILPOINT": "files.mid:5"}).code == -9
        (part,) = folder(a).glob("*.part")
        there = part.stat().st_size
        assert there > 0
        cutter.received = 0
        a.sync()
        (kept,) = filled.path.glob("server.db-files/*.json")
        size = next(
            path.stat().st_size for path in filled.path.glob("server.db-files/*")
            if path != kept and path.is_file() and path.stat().st_size > there
        )  # fmt: skip
        assert cutter.received < size - there + 20_000
    filled.check_equal(a)


def test_a_line_that_is_cut_again_and_again(filled: Any) -> None:
    """Each connection lives for some bytes only; every attempt brings it a little further."""
    with Cutter(filled.port) as cutter:
        a = filled.device("a", "token-a", url=cutter.url, met=False)
        a.shell("INSERT INTO stock (sku, on_hand) VALUES ('mine', 3)")
        failures = 0
        for attempt in range(200):
            cutter.budget = 1 + attempt * 7919 % 90_000
            error = a.try_sync()
            if error is None:
                break
            assert isinstance(error, Offline), error
            failures += 1
            assert a.query("SELECT count(*) FROM stock") == [(1,)]
        else:
            raise AssertionError("it never arrived")
        assert failures > 3
    assert not folder(a).exists()
    filled.check_equal(a)


def test_while_others_write(filled: Any) -> None:
    done = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        db = apsw.Connection(str(filled.database))
        db.set_busy_timeout(10_000)
        while not done.is_set():
            db.execute("UPDATE stock SET on_hand = on_hand + 1, name = 'new' WHERE sku = ?",
                       (f"p{written % ROWS:06}",))  # fmt: skip
            db.execute("DELETE FROM stock WHERE sku = ?", (f"p{ROWS - 1 - written:06}",))
            written += 1
            done.wait(0.002)
        db.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        a = filled.device("a", "token-a", met=False)
        a.shell("UPDATE stock SET on_hand = 0; INSERT INTO stock (sku, on_hand) VALUES ('m', 3)")
        with a.opened() as replica:
            report = replica.sync()
            assert report.received_rows > ROWS // 2
            assert report.verified
    finally:
        done.set()
        writer.join()
    assert written > 5
    a.sync()
    filled.check_equal(a)


def test_two_processes_on_one_replica(filled: Any) -> None:
    a = filled.device("a", "token-a", met=False)
    a.run()
    for _ in range(3):
        assert a.cli("sync").code == 0
    wait_until(lambda: a.query("SELECT count(*) FROM stock") == [(ROWS,)], what="the rows")
    wait_until(lambda: a.session().get("state") == "online", what="the end of it")
    assert not folder(a).exists()
    filled.check_equal(a)


def test_its_progress_can_be_seen(world: Any) -> None:
    fill(world)
    a = world.device("a", "token-a", met=False)
    seen: list[tuple[str, int, int]] = []
    loading: list[dict[str, Any]] = []
    with a.opened() as replica:

        def told(*progress: Any) -> None:
            seen.append(progress)
            now = replica._syncing.exchanger().loading
            if now is not None:
                loading.append(now.to_dict())

        replica.sync(progress=told)
        assert replica.status.loading is None
    stages = [stage for stage, _, _ in seen]
    assert [s for s in dict.fromkeys(stages) if s != "exchanging"] == [
        "building", "downloading", "checking", "importing",
    ]  # fmt: skip
    ((done, total),) = [(d, t) for s, d, t in seen if s == "importing"][-1:]
    assert done == total == ROWS
    assert {tuple(item["scopes"]) for item in loading} == {("main",)}
    world.check_equal(a)


def test_pending_work_is_not_stalled_while_the_load_goes_forward(filled: Any) -> None:
    """However long it takes: here each step of it takes nearly as long as the watchdog waits."""
    a = filled.device("a", "token-a", met=False)
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('mine', 3)")
    patience_ms, clock_ms, steps = 1000, [0], []
    statuses: list[dict[str, Any]] = []
    options = RunnerOptions(
        session=SessionConfig(watchdog_ms=patience_ms), on_status=statuses.append
    )
    with Replica.open(a.file, host=Host(monotonic_ms=lambda: clock_ms[0])) as replica:

        def told(loading: Loading | None) -> None:
            if loading is None or loading.done == 0:
                return
            runner = replica._syncing._runner
            assert runner is not None
            wait_until(
                lambda: (loading.stage, loading.total, loading.done) in runner._state.reached,
                what="the session to hear of it",
            )  # fmt: skip
            clock_ms[0] += patience_ms - 1
            steps.append(loading.stage)

        replica._syncing.exchanger().on_loading = told
        replica.start(options)
        wait_until(lambda: statuses and statuses[-1]["state"] == "online", what="the sync")
    assert {"downloading", "checking", "importing"} == set(steps)
    assert clock_ms[0] > 2 * patience_ms, "it took no time"
    assert not [status for status in statuses if status["stalled"]]
    filled.check_equal(a)


def test_background_sync_is_stopped_while_the_server_builds(world: Any) -> None:
    """Waiting for a file keeps nobody from closing the replica, nor does a server that hangs."""
    fill(world, 3 * ROWS)
    a = world.device("a", "token-a", met=False)
    with Replica.open(a.file) as replica:
        replica.start()
        wait_until(lambda: replica.status.loading is not None, 120, "the load to begin")
        os.kill(world.server.pid, signal.SIGSTOP)
        begun = time.monotonic()
    closed = time.monotonic()
    os.kill(world.server.pid, signal.SIGCONT)
    assert (closed - begun) * 1000 < READ_TIMEOUT_MS, "it waited for the server"
    a.sync()
    world.check_equal(a)


def test_a_small_scope_and_an_old_server_need_no_files(world: Any) -> None:
    fill(world, 50)
    a = world.device("a", "token-a", met=False)
    a.sync()
    assert not folder(a).exists()
    assert list(world.path.glob("server.db-files/*.json")) == []
    world.check_equal(a)


class Cutter:
    """A line on which each connection carries ``budget`` bytes of answers, and then breaks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.budget = 2**60
        self.received = 0
        self._sockets: list[socket.socket] = [self._listener]
        self._pumps: list[threading.Thread] = []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            for source, target, left in (
                (client, server, None),
                (server, client, [self.budget]),
            ):
                pump = threading.Thread(target=self._pump, args=(source, target, left))
                self._pumps.append(pump)
                pump.start()

    def _pump(self, source: socket.socket, target: socket.socket, left: list[int] | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(8192):
                if left is not None:
                    data = data[: left[0]]
                    left[0] -= len(data)
                    self.received += len(data)
                target.sendall(data)
                if left == [0]:
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._pumps.append(threading.Thread(target=self._accept))
        self._pumps[0].start()
        return self

    def __exit__(self, *_failure: object) -> None:
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for pump in self._pumps:
            pump.join()
        for end in self._sockets:
            end.close()
