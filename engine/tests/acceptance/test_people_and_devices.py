"""A person lets a device in, loses it, gets it back: nothing is lost, nothing comes twice.

Real server processes on both databases, real HTTP, and the command.

Checks I26.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast import Replica
from holdfast.cli.server.people_host import people
from holdfast.core.errors import AttentionNeeded, Offline, SignInNeeded, SyncError
from holdfast.replica import enrol
from holdfast.schema.load import load_schema
from holdfast.testing import FaultProxy, ServerProcess, launching, wait_until
from holdfast.testing.postgres import PostgresCluster
from holdfast.testing.proxy import FaultKind

pytestmark = pytest.mark.acceptance

SCHEMA = Path(__file__).parents[3] / "examples" / "counter" / "schema.json"
HOLDFAST = [sys.executable, "-m", "holdfast.cli"]
MUG = "INSERT INTO stock (sku, on_hand) VALUES ('mug', 100)"
SELL = "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'mug'"


@dataclass
class Shop:
    """A database, the servers on it, and the operator's command."""

    folder: Path
    database: str
    servers: list[ServerProcess] = field(default_factory=list)

    def serve(self) -> ServerProcess:
        command = [*HOLDFAST, "serve", "--schema", str(SCHEMA), "--database", self.database,
                   "--port", "{port}"]  # fmt: skip
        log = self.folder / f"server-{len(self.servers)}.log"
        self.servers.append(ServerProcess(command, log_path=log))
        return self.servers[-1].start()

    def command(self, *words: str) -> list[str]:
        return [*HOLDFAST, "server", *words, "--schema", str(SCHEMA), "--database", self.database]

    def operate(self, *words: str) -> dict[str, Any]:
        done = launching.run(
            [*self.command(*words), "--json"],
            env={**os.environ, "HOLDFAST_PASSWORD": "correct horse"},
        )
        done.check_returncode()
        found = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(found, dict)
        return found

    def code(self, user: str = "ann", *, device: str = "") -> str:
        with people(load_schema(str(SCHEMA)), self.database) as registry:
            return registry.invite(user, device=device).code

    def devices(self) -> list[dict[str, Any]]:
        return list(self.operate("devices")["devices"])

    def device(self, name: str, server: str, user: str = "ann") -> Replica:
        """A replica whose device was let in."""
        path = self.folder / f"{name}.db"
        enrol(path, server=server, code=self.code(user), name=name)
        return Replica.open(path)

    def logs(self) -> str:
        return "".join(server.log_path.read_text() for server in self.servers)


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    database = str(tmp_path / "server.db")
    if request.param == "postgres":
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        database = cluster.make_database()
    yield from _shop(tmp_path, database)


@pytest.fixture
def big_shop(postgres_cluster: PostgresCluster, tmp_path: Path) -> Iterator[Shop]:
    """On PostgreSQL, for several servers."""
    yield from _shop(tmp_path, postgres_cluster.make_database())


def _shop(folder: Path, database: str) -> Iterator[Shop]:
    made = Shop(folder, database)
    with people(load_schema(str(SCHEMA)), database) as registry:
        for name in ("ann", "bob"):
            registry.add_user(name, write=["main"])
    try:
        yield made
    finally:
        for server in made.servers:
            server.close()


def sell(replica: Replica, times: int = 1) -> None:
    for _ in range(times):
        with replica.transaction() as db:
            db.execute(SELL)


def on_hand(replica: Replica) -> int:
    ((number,),) = replica.query("SELECT on_hand FROM stock WHERE sku = 'mug'")
    assert isinstance(number, int)
    return number


def credentials(replica: Replica) -> dict[str, Any]:
    found = json.loads(Path(f"{replica.path}-credentials").read_text())
    assert isinstance(found, dict)
    return found


def make_due(replica: Replica) -> str:
    """Let the token be due for a new one; the token."""
    path, found = Path(f"{replica.path}-credentials"), credentials(replica)
    path.write_text(json.dumps(found | {"refresh_at": 1}))
    return str(found["token"])


def test_a_device_lost_and_found(shop: Shop) -> None:
    url = shop.serve().url
    with shop.device("a", url) as a, shop.device("b", url, "bob") as b:
        with a.transaction() as db:
            db.execute(MUG)
        a.sync()
        sell(a, 3)
        a.sync()
        b.sync()
        device = a.status.device
        listed = {d["name"]: d for d in shop.devices()}
        assert (listed["a"]["device"], listed["a"]["user"]) == (device, "ann")
        assert (listed["a"]["waiting"], listed["a"]["oldest_us"]) == (0, None)
        assert listed["a"]["client"].startswith("holdfast ")
        assert listed["a"]["last_seen"] > listed["a"]["created"] > 0
        assert abs(listed["a"]["offset_us"]) < 5_000_000

        shop.operate("revoke", device)
        assert [d["name"] for d in shop.devices() if d["revoked"]] == ["a"]
        sell(a, 2)
        with b.transaction() as db:
            db.execute("UPDATE stock SET name = 'secret'")
        b.sync()
        for _ in range(2):
            with pytest.raises(SignInNeeded):
                a.sync()
        assert a.status.pending == 2
        assert a.status.state == "needs_sign_in"
        assert a.query("SELECT on_hand, name FROM stock") == [(95, "")]
        b.sync()
        assert on_hand(b) == 97

        with pytest.raises(SyncError) as out:
            a.enrol(code=shop.code())
        assert out.value.code == "device_revoked"
        used_up = str(shop.operate("enrol", "--user", "ann", "--device", device)["code"])
        with pytest.raises(AttentionNeeded) as caught:
            a.enrol(code=shop.code("bob"))
        assert caught.value.code == "wrong_device"
        assert a.status.pending == 2
        again = a.enrol(code=used_up)
        assert (again.device, again.user) == (device, "ann")
        with pytest.raises(SignInNeeded) as refused:
            b.enrol(code=used_up)
        assert refused.value.code == "enrol_refused"
        assert a.sync().applied == 2
        b.sync()
        assert on_hand(a) == on_hand(b) == 95
        assert a.query("SELECT * FROM stock") == b.query("SELECT * FROM stock")
        assert a.verify().ok
        assert b.verify().ok


def test_a_background_device_follows_what_the_operator_does(shop: Shop) -> None:
    url = shop.serve().url
    with shop.device("a", url) as a, shop.device("b", url, "bob") as b:
        with b.transaction() as db:
            db.execute(MUG)
        b.sync()
        a.start()
        wait_until(lambda: a.status.state == "online" and a.query(SELECT_MUG) != [], what="a link")
        # Rights that are taken leave with the rows, without anybody asking; given ones come.
        shop.operate("user", "set", "ann", "--no-write")
        wait_until(lambda: a.query(SELECT_MUG) == [], what="the rows to leave")
        shop.operate("user", "set", "ann", "--write", "main")
        wait_until(lambda: a.query(SELECT_MUG) == [(100,)], what="the rows to come back")
        shop.operate("revoke", "--user", "ann")
        wait_until(lambda: a.status.state == "needs_sign_in", what="the verdict")
        sell(a)
        b.sync()
        assert on_hand(b) == 100
        done = launching.run(
            [*HOLDFAST, "enrol", a.path, "--code", shop.code(device=a.status.device), "--json"]
        )
        done.check_returncode()
        assert json.loads(done.stdout)["device"] == a.status.device
        wait_until(
            lambda: a.status.state == "online" and not a.status.pending, what="sync to go on"
        )
        a.stop()
        b.sync()
        assert on_hand(b) == 99


SELECT_MUG = "SELECT on_hand FROM stock WHERE sku = 'mug'"


def test_answers_with_tokens_in_them_are_lost(shop: Shop) -> None:
    server = shop.serve()
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    paths = ("/v1/enrol", "/v1/token")
    with FaultProxy(upstream=address, paths=paths) as proxy:
        path, code = shop.folder / "a.db", shop.code()
        for _ in range(2):
            proxy.scripted(["drop_after"])
            with pytest.raises(Offline):
                enrol(path, server=proxy.url, code=code)
        assert not path.exists()
        enrol(path, server=proxy.url, code=code)
        assert len(shop.devices()) == 1
        with Replica.open(path) as a:
            with a.transaction() as db:
                db.execute(MUG)
            a.sync()
            old = make_due(a)
            proxy.scripted(["drop_after"])
            sell(a)
            assert a.sync().applied == 1, "work waits for no token"
            assert credentials(a)["token"] == old
        new = old
        for attempt in range(2):  # anew, as another process
            with Replica.open(path) as a:
                a.sync()
                new = str(credentials(a)["token"])
                assert (new != old) == (attempt == 0)
                assert a.sync().verified
                old = new
        for file in (path, Path(f"{path}-wal"), *shop.folder.glob("server*.db*")):
            if file.exists():
                assert new.encode() not in file.read_bytes()
        assert stat.S_IMODE(Path(f"{path}-credentials").stat().st_mode) == 0o600
        assert "hft_" not in shop.logs()
        assert code not in shop.logs()
        assert list(shop.folder.glob("*-credentials.*")) == [], "half-written files stay"


@pytest.mark.parametrize("by", ["code", "password"])
def test_what_comes_after_the_token_is_lost(shop: Shop, by: str) -> None:
    """The token was used, so the server gives no other one for it: it is gone on with."""
    server = shop.serve()
    shop.operate("user", "password", "ann")
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    proof: dict[str, Any] = {"code": shop.code()}
    if by == "password":
        proof = {"user": "ann", "password": "correct horse"}
    path = shop.folder / "a.db"
    with FaultProxy(upstream=address, paths=("/v1/enrol", "/v1/schema")) as proxy:
        scripts: tuple[list[FaultKind | None], ...] = ([None, "drop_after"], ["drop_after"])
        for script in scripts:
            proxy.scripted(script)
            with pytest.raises(Offline):
                enrol(path, server=proxy.url, **proof)
        assert not path.exists()
        done = enrol(path, server=proxy.url, **proof)
        assert [d["device"] for d in shop.devices()] == [done.device]
        with Replica.open(path) as a:
            a.sync()
            assert a.status.device == done.device
            assert {"attempt", "shown"}.isdisjoint(
                name for name, value in credentials(a).items() if value
            )
        other = shop.folder / "b.db"
        again: dict[str, Any] = {"code": shop.code()} if by == "code" else proof
        proxy.scripted([None, "drop_after"])
        with pytest.raises(Offline):
            enrol(other, server=proxy.url, **again)
        assert enrol(other, server=proxy.url, code=shop.code("bob")).user == "bob"


def test_a_password_lets_in_and_is_asked_for_nowhere_else(shop: Shop) -> None:
    url = shop.serve().url
    shop.operate("user", "password", "ann")  # from the environment
    path = shop.folder / "a.db"
    with pytest.raises(SignInNeeded):
        enrol(path, server=url, user="ann", password="wrong")
    done = launching.run(
        [*HOLDFAST, "enrol", path, "--server", url, "--user", "ann", "--password-stdin"],
        input="correct horse\n",
    )
    done.check_returncode()
    assert "correct horse" not in done.stdout + done.stderr + shop.logs()
    with Replica.open(path) as a:
        assert a.sync().verified
        assert a.status.user == "ann"
        shop.operate("user", "disable", "ann")
        with pytest.raises(SignInNeeded):
            a.sync()
        shop.operate("user", "enable", "ann")
        assert a.sync().verified


def test_a_person_changes_their_own_password_from_a_device(shop: Shop) -> None:
    def change(old: str, new: str) -> subprocess.CompletedProcess[str]:
        return launching.run([*HOLDFAST, "password", path, "--json"], input=f"{old}\n{new}\n")

    def code(done: subprocess.CompletedProcess[str]) -> object:
        assert done.returncode != 0, done.stdout
        return json.loads(done.stdout.splitlines()[-1])["error"]["code"]

    url = shop.serve().url
    shop.operate("user", "password", "ann")
    path = shop.folder / "a.db"
    for name in ("a", "b"):
        enrol(shop.folder / f"{name}.db", server=url, user="ann", password="correct horse")
    with Replica.open(path) as a, Replica.open(shop.folder / "b.db") as b:
        a.sync()
        b.sync()
        assert code(change("correct horse", "")) == "no_password"
        assert code(change("a wrong guess", "violet tractor")) == "wrong_password"
        assert code(change("correct horse", "short")) == "bad_password"
        a.sync()
        b.sync()  # nothing has changed, so nobody is signed out
        done = change("correct horse", "violet tractor")
        assert done.returncode == 0, done.stderr
        a.sync()
        with pytest.raises(SignInNeeded):
            b.sync()
        with pytest.raises(SignInNeeded):
            enrol(shop.folder / "c.db", server=url, user="ann", password="correct horse")
        enrol(shop.folder / "c.db", server=url, user="ann", password="violet tractor")
    said = done.stdout + done.stderr + shop.logs()
    for secret in ("correct horse", "violet tractor", "a wrong guess"):
        assert secret not in said


# --- in the middle of a push ----------------------------------------------------------------------


def _waiting(database: str) -> int:
    """How many transactions wait for a lock."""
    with psycopg.connect(database, autocommit=True) as db:
        ((count,),) = db.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchall()
    return int(count)


def test_a_revocation_waits_for_the_push_or_the_push_sees_it(big_shop: Shop) -> None:
    first, second = big_shop.serve().url, big_shop.serve().url
    with big_shop.device("a", first) as a, big_shop.device("b", second, "bob") as b:
        with a.transaction() as db:
            db.execute(MUG)
        a.sync()
        b.sync()
        device = a.status.device
        failures: list[SyncError] = []

        def push() -> None:
            try:
                a.sync()
            except SyncError as error:
                failures.append(error)

        # The push is held up by a row that somebody has locked; the revocation comes meanwhile.
        sell(a)
        with psycopg.connect(big_shop.database) as other:
            other.execute("SELECT FROM holdfast_scope FOR UPDATE")
            pushing = threading.Thread(target=push)
            pushing.start()
            wait_until(lambda: _waiting(big_shop.database) == 1, what="the push to wait")
            revoking = launching.start(big_shop.command("revoke", device))
            wait_until(lambda: _waiting(big_shop.database) == 2, what="the revocation to wait")
            assert revoking.poll() is None
            other.rollback()
        assert revoking.wait(60) == 0
        pushing.join(60)
        b.sync()
        assert on_hand(b) == 99, "what came before the revocation stands"
        with pytest.raises(SignInNeeded):
            a.sync()
        assert a.status.pending + a.status.sent <= 1

        # The other way round: the revocation is there, and not committed yet, when the push comes.
        a.enrol(code=big_shop.code(device=device))
        a.sync()
        failures.clear()
        sell(a, 2)
        with psycopg.connect(big_shop.database) as other:
            other.execute(
                "UPDATE holdfast_registration SET revoked = 1 WHERE device = %s", [device]
            )
            pushing = threading.Thread(target=push)
            pushing.start()
            wait_until(lambda: _waiting(big_shop.database) == 1, what="the push to wait")
            other.commit()
        pushing.join(60)
        assert [type(failure) for failure in failures] == [SignInNeeded]
        b.sync()
        assert on_hand(b) == 99, "the push came after the revocation"
        a.enrol(code=big_shop.code(device=device))
        assert a.sync().applied == 2
        b.sync()
        assert on_hand(a) == on_hand(b) == 97


def test_a_stream_on_another_server_ends_at_once(big_shop: Shop) -> None:
    first, second = big_shop.serve().url, big_shop.serve().url
    with big_shop.device("a", first) as a, big_shop.device("b", second, "bob") as b:
        b.start()
        wait_until(lambda: b.status.state == "online", what="a link")
        assert b.transport is not None
        stream = b.transport.events()
        assert next(iter(stream)).kind == "hello"
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                with a.transaction() as db:
                    db.execute("INSERT INTO stock (sku) SELECT 'x' || count(*) FROM stock")
                a.sync()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            big_shop.operate("revoke", b.status.device)
            kinds = [event.kind for event in stream]  # until it ends
        finally:
            stop.set()
            writer.join(60)
            stream.close()
        assert set(kinds) <= {"moved", "heartbeat"}
        wait_until(lambda: b.status.state == "needs_sign_in", what="the verdict")
        held = b.query("SELECT count(*) FROM stock")
        with a.transaction() as db:
            db.execute("INSERT INTO stock (sku) VALUES ('later')")
        a.sync()
        assert b.query("SELECT count(*) FROM stock") == held
