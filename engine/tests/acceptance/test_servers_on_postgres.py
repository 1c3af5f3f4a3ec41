"""Two server processes on one PostgreSQL, killed in turn: both sides agree, nothing is doubled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Replica, SyncError
from holdfast.schema.load import load_schema
from holdfast.testing import ServerProcess, wait_until
from holdfast.testing.postgres import PostgresCluster

pytestmark = pytest.mark.acceptance

COUNTER = Path(__file__).parents[3] / "examples" / "counter"
SCHEMA = load_schema(str(COUNTER / "schema.json"))
SET_UP = "INSERT INTO stock (sku, name, price, on_hand) VALUES ('mug', 'Mug', 850, 100)"


@pytest.fixture
def database(postgres_cluster: PostgresCluster) -> str:
    return postgres_cluster.make_database()


@pytest.fixture
def servers(database: str, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    command = [
        sys.executable, "-m", "holdfast.cli", "serve", "--schema", str(COUNTER / "schema.json"),
        "--database", database, "--tokens", str(COUNTER / "tokens.toml"), "--port", "{port}",
    ]  # fmt: skip
    made = [ServerProcess(command, log_path=tmp_path / f"server-{n}.log") for n in (1, 2)]
    try:
        for server in made:
            server.start()
        yield made
    finally:
        for server in made:
            server.close()


def device(path: Path, server: ServerProcess, token: str) -> Replica:
    return Replica.open(path, SCHEMA, server=server.url, token=token)


def sync(replica: Replica) -> None:
    """Sync until it succeeds: a server that was killed comes back."""

    def done() -> bool:
        try:
            return replica.sync().verified
        except SyncError:
            return False

    wait_until(done, what="a sync that succeeds")


def test_killed_in_turn(servers: list[ServerProcess], tmp_path: Path) -> None:
    first, second = servers
    with (
        device(tmp_path / "a.db", first, "token-a") as a,
        device(tmp_path / "b.db", second, "token-b") as b,
    ):
        with a.transaction() as db:
            db.execute(SET_UP)
        sync(a)
        sync(b)
        assert b.query("SELECT on_hand FROM stock") == [(100,)]
        for number, (replica, server) in enumerate([(a, first), (b, second)] * 3):
            for other in (a, b):
                with other.transaction() as db:
                    db.execute("UPDATE stock SET on_hand = on_hand - 1, name = ?", [f"n{number}"])
            server.kill()
            server.start()
            sync(replica)
        for replica in (a, b, a):
            sync(replica)
        assert a.query("SELECT * FROM stock") == b.query("SELECT * FROM stock")
        assert a.query("SELECT on_hand FROM stock") == [(88,)]
        assert a.status.pending == b.status.pending == 0
        assert a.verify().ok
        assert b.verify().ok


def test_what_psql_writes_reaches_devices_of_both(
    servers: list[ServerProcess], postgres_cluster: PostgresCluster, database: str, tmp_path: Path
) -> None:
    first, second = servers
    with (
        device(tmp_path / "a.db", first, "token-a") as a,
        device(tmp_path / "b.db", second, "token-b") as b,
    ):
        with a.transaction() as db:
            db.execute(SET_UP)
        sync(a)
        sync(b)
        a.start()
        b.start()
        for replica in (a, b):
            wait_until(lambda r=replica: r.status.state == "online", what="both are online")  # type: ignore[misc]  # it binds the name
        postgres_cluster.sql("UPDATE stock SET price = 900, on_hand = on_hand + 5", database)
        for replica in (a, b):
            wait_until(
                lambda r=replica: r.query("SELECT price, on_hand FROM stock") == [(900, 105)],  # type: ignore[misc]  # it binds the name
                what="the back office's write",
            )
        a.stop()
        b.stop()
        for replica in (a, b):
            sync(replica)
            assert replica.verify().ok
