"""The drill: a server is backed up, works on, is lost, and is put back; nothing that anybody was
told is safe is missing, and nothing is there twice.

Checks I5, I7, I12, I21.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine.tests.acceptance.conftest import COUNTER, HOLDFAST, Ran, holdfast, query, shell
from engine.tests.acceptance.test_backup import database

from holdfast.testing import ServerProcess, free_port
from holdfast.testing.postgres import PostgresCluster, find_programs

__all__ = ["database"]
pytestmark = pytest.mark.acceptance

NAMES = ("a", "b", "c")
TOKENS = "".join(
    f'[token-{name}]\nuser = "{name}"\ndevice = "device-{name}"\nwrite = ["main"]\n'
    for name in NAMES
)
ROWS = "SELECT sku, name, on_hand FROM stock ORDER BY sku"


class Shop:
    """A server that can be lost, and three devices that live on."""

    def __init__(self, database: str, path: Path) -> None:
        self.database = database
        self.path = path
        self.port = free_port()
        self.servers: list[ServerProcess] = []
        (path / "tokens.toml").write_text(TOKENS)

    def serve(self) -> ServerProcess:
        command = [
            *HOLDFAST, "serve", "--schema", str(COUNTER), "--database", self.database,
            "--tokens", str(self.path / "tokens.toml"), "--port", "{port}",
        ]  # fmt: skip
        log = self.path / f"server-{len(self.servers)}.log"
        made = ServerProcess(command, port=self.port, log_path=log)
        self.servers.append(made)
        return made.start()

    def file(self, name: str) -> Path:
        return self.path / f"{name}.db"

    def join(self, name: str) -> None:
        token = self.path / f"{name}.token"
        token.write_text(f"token-{name}\n")
        token.chmod(0o600)
        url = f"http://127.0.0.1:{self.port}"
        made = holdfast(
            "init", self.file(name), "--schema", COUNTER, "--server", url, "--token-file", token
        )
        assert made.code == 0, made.err

    def write(self, name: str, sql: str) -> None:
        shell(self.file(name), sql)

    def sync(self, *names: str) -> None:
        for name in names:
            done = holdfast("sync", self.file(name), "--json")
            assert done.code == 0, f"{name}: {done.out} {done.err}"

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        return query(self.file(name), ROWS)

    def close(self) -> None:
        for server in self.servers:
            server.kill()


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(database, tmp_path)
    yield made
    made.close()


def lose(shop: Shop, request: pytest.FixtureRequest) -> None:
    """The server and all that it had are gone."""
    shop.servers[-1].kill()
    if "://" not in shop.database:
        for path in shop.path.glob("server.db*"):
            if path.is_file():
                path.unlink()
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    shop.database = cluster.make_database()


def backed_up(shop: Shop, to: Path) -> Ran:
    told = holdfast("server", "backup", to, "--database", shop.database, "--json")
    assert told.code == 0, told.err
    return told


def unsaved(shop: Shop, name: str) -> int:
    """How many acknowledged transactions a device has that no backup has."""
    ((count,),) = query(
        shop.file(name),
        "SELECT count(*) FROM holdfast_kept WHERE number > (SELECT backed_up FROM holdfast_state)",
    )
    return int(count)


def test_a_server_is_lost_and_put_back(
    shop: Shop, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shop.serve()
    for name in NAMES:
        shop.join(name)
        shop.write(name, f"INSERT INTO stock (sku, on_hand) VALUES ('{name}-first', 10)")
        shop.sync(name)
    shop.sync(*NAMES)

    copy = tmp_path / "copy"
    backed_up(shop, copy)
    shop.sync(*NAMES)
    assert [unsaved(shop, name) for name in NAMES] == [0, 0, 0], "the backup has it all"

    # They work on, c without a connection.
    shop.write("a", "UPDATE stock SET on_hand = on_hand - 1; INSERT INTO stock (sku, on_hand) "
                    "VALUES ('after', 5)")  # fmt: skip
    shop.sync("a")
    shop.write("a", "UPDATE stock SET name = 'named' WHERE sku = 'after'")
    shop.write("b", "UPDATE stock SET on_hand = on_hand - 2 WHERE sku = 'a-first'")
    shop.sync("a", "b")
    shop.write("b", "DELETE FROM stock WHERE sku = 'b-first'")
    shop.sync("b", "a")
    shop.write("c", "UPDATE stock SET on_hand = on_hand - 4; UPDATE stock SET name = 'by c' "
                    "WHERE sku = 'c-first'")  # fmt: skip
    safe = shop.rows("a")
    assert safe == [("a-first", "", 7), ("after", "named", 5), ("c-first", "", 9)]
    assert unsaved(shop, "a") > 0
    assert unsaved(shop, "b") > 0

    lose(shop, request)
    restored = holdfast("server", "restore", copy, "--database", shop.database, "--json")
    assert restored.code == 0, restored.err
    assert restored.document["devices"] == 3
    shop.serve()
    for _ in range(2):
        shop.sync(*NAMES)
    expected = [("a-first", "", 3), ("after", "named", 5), ("c-first", "by c", 5)]
    # What b deleted, c changed while it did not know: the change keeps the row.
    alive = [row for row in shop.rows("a") if row[0] != "b-first"]
    assert alive == expected
    for name in NAMES:
        assert shop.rows(name) == shop.rows("a"), name
        assert holdfast("verify", shop.file(name), "--json").code == 0, name
        story = holdfast("history", shop.file(name), "--json").document["events"]
        assert "server_restored" in [event["kind"] for event in story], name

    backed_up(shop, tmp_path / "second")
    shop.sync(*NAMES)
    assert [unsaved(shop, name) for name in NAMES] == [0, 0, 0]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_what_an_operators_own_programs_put_back_is_noticed(shop: Shop, tmp_path: Path) -> None:
    """``pg_dump`` and ``pg_restore`` by hand, and not a word to Holdfast."""
    shop.serve()
    for name in ("a", "b"):
        shop.join(name)
    shop.write("a", "INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    shop.sync("a", "b")
    dump, programs = tmp_path / "dump", find_programs()
    subprocess.run([programs / "pg_dump", "-Fc", "-f", dump, "-d", shop.database], check=True)
    shop.write("a", "UPDATE stock SET on_hand = on_hand - 1")
    shop.write("b", "INSERT INTO stock (sku, on_hand) VALUES ('nut', 5)")
    shop.sync("a", "b", "a")
    shop.write("a", "UPDATE stock SET on_hand = on_hand - 2, name = 'named' WHERE sku = 'nut'")
    shop.servers[-1].terminate()
    subprocess.run(
        [programs / "pg_restore", "--clean", "--if-exists", "-d", shop.database, dump], check=True
    )
    shop.serve()
    for _ in range(3):  # a changed what b has not brought back yet
        shop.sync("a", "b")
    assert shop.rows("a") == shop.rows("b") == [("nut", "named", 3), ("screw", "", 9)]
    for name in ("a", "b"):
        assert holdfast("verify", shop.file(name), "--json").code == 0, name
        (event,) = holdfast("history", shop.file(name), "--json").document["events"]
        assert event["kind"] == "server_restored", name
        assert holdfast("refused", shop.file(name), "--json").document["refused"] == [], name


def test_the_same_backup_is_put_back_twice(shop: Shop, tmp_path: Path) -> None:
    """What was done after the first time was in an epoch that the backup knows nothing of."""
    shop.serve()
    for name in ("a", "b"):
        shop.join(name)
    shop.write("a", "INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    shop.sync("a", "b")
    copy = tmp_path / "copy"
    backed_up(shop, copy)
    for number in (1, 2):
        shop.write("a", f"UPDATE stock SET on_hand = on_hand - {number}, name = 'by a {number}' "
                        "WHERE sku = 'screw'")  # fmt: skip
        shop.sync("a", "b")
        shop.write("b", f"INSERT INTO stock (sku, on_hand) VALUES ('nut-{number}', 1)")
        shop.sync("b", "a")
        shop.servers[-1].kill()
        restored = holdfast("server", "restore", copy, "--database", shop.database, "--json")
        assert restored.code == 0, restored.err
        assert restored.document["aside"]
        shop.serve()
        for _ in range(2):
            shop.sync("a", "b")
    expected = [("nut-1", "", 1), ("nut-2", "", 1), ("screw", "by a 2", 7)]
    assert shop.rows("a") == shop.rows("b") == expected
    for name in ("a", "b"):
        assert holdfast("verify", shop.file(name), "--json").code == 0, name
