"""The server dies while it makes a file, or its twin does: no half file is ever offered.

I31, I36: what is offered is whole and adds up to the digest of its version, whoever was killed at
whatever point; a download that was cut goes on where it was.

Checks I31, I36.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.core.digest import Digest, row_hash
from holdfast.core.limits import SNAPSHOT_ROWS_MIN
from holdfast.protocol.codec import decode_line, encode_request
from holdfast.protocol.compression import unpack_bounded
from holdfast.protocol.messages import ExchangeRequest, FileOffer, Files, Head, Nonces
from holdfast.schema.load import load_schema
from holdfast.server.feed.feed import Touched, publish
from holdfast.server.open_store import open_store
from holdfast.server.store.contract import RowRecord
from holdfast.testing import ServerProcess, wait_until
from holdfast.testing.postgres import PostgresCluster, scratch_schema

pytestmark = pytest.mark.acceptance

COUNTER = Path(__file__).parents[3] / "examples" / "counter"
SCHEMA = load_schema(str(COUNTER / "schema.json"))
STOCK = SCHEMA.by_name["stock"]
ROWS = SNAPSHOT_ROWS_MIN + 500
TOKEN = "token-a"
TOKENS = '[token-a]\nuser = "anna"\ndevice = "device-a"\nread = ["main"]\n'
DONE = 60


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            yield fill(str(tmp_path / "server.db"))
            return
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        yield fill(stack.enter_context(scratch_schema(cluster)))


def fill(database: str) -> str:
    """A scope that is just large enough to come as a file."""
    draw = random.Random(1)
    store = open_store(SCHEMA, database, random_bytes=draw.randbytes)

    def work(writer: Any) -> None:
        rows = []
        for number in range(ROWS):
            values: dict[str, Any] = {"sku": f"p{number:06}", "name": draw.randbytes(9).hex()}
            rows.append(tuple(values.get(c.name, c.default_value()) for c in STOCK.columns))
        writer.write(STOCK, first_gone=[], rows=rows)
        writer.put_records(STOCK, [RowRecord(str(row[0]), 2**32 + 1, b"", None) for row in rows])
        touched = [Touched(STOCK, str(row[0]), (), ("main",), row) for row in rows]
        publish(writer, touched, draw.randbytes)

    store.transact(work)
    store.close()
    return database


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    made: list[ServerProcess] = []
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)

    def begin(failpoint: str = "", port: int | None = None) -> ServerProcess:
        command = [
            sys.executable, "-m", "holdfast.cli", "serve", "--schema",
            str(COUNTER / "schema.json"), "--database", database, "--tokens", str(tokens),
            "--port", "{port}",
        ]  # fmt: skip
        made.append(
            ServerProcess(
                command, port=port, log_path=tmp_path / f"server-{len(made)}.log",
                env={"HOLDFAST_FAILPOINT": failpoint, "TMPDIR": str(tmp_path)},
            ).start()
        )  # fmt: skip
        return made[-1]

    yield begin
    for server in made:
        server.close()


def ask(server: ServerProcess) -> tuple[Head, Files] | None:
    """One exchange of a new device; None when the server died over it."""
    request = ExchangeRequest(
        protocol=1, schema=SCHEMA.fingerprint, now=1, nonce=Nonces("", "abcdefgh"),
        files=["gzip"],
    )  # fmt: skip
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    try:
        answer = httpx2.post(
            f"{server.url}/v1/exchange", content=encode_request(request), headers=headers,
            trust_env=False, timeout=60,
        )  # fmt: skip
    except httpx2.TransportError:
        return None
    assert answer.status_code == 200, answer.text
    head, files, _ = (decode_line(line) for line in answer.content.splitlines())
    assert isinstance(head, Head)
    assert isinstance(files, Files)
    return head, files


def offered(server: ServerProcess) -> tuple[Head, FileOffer]:
    def ready() -> tuple[Head, FileOffer] | None:
        found = ask(server)
        assert found is not None
        return (found[0], found[1].offers[0]) if found[1].offers else None

    found = wait_until(ready, DONE, "a file")
    assert found is not None
    return found


def fetched(server: ServerProcess, offer: FileOffer) -> bytes:
    """The file, with the line cut a few times."""
    cuts = iter([1000, 70_000, 300_000, 10**9])
    body = b""
    while len(body) < offer.bytes:
        headers = {"range": f"bytes={len(body)}-", "if-range": f'"{offer.sha256}"'}
        left = next(cuts)
        with httpx2.stream(
            "GET", server.url + offer.path, headers=headers, trust_env=False
        ) as answer:
            assert answer.status_code == 206
            for piece in answer.iter_raw(5000):
                body += piece
                left -= len(piece)
                if left <= 0:
                    break
    assert (len(body), hashlib.sha256(body).hexdigest()) == (offer.bytes, offer.sha256)
    return unpack_bounded([body], offer.encoding, bytes_max=2**30, ratio_max=None)


def check(server: ServerProcess) -> FileOffer:
    """The file that is offered is whole, and its rows are those of its digest."""
    head, offer = offered(server)
    key = bytes.fromhex(head.scopes["main"].key)
    digest = Digest()
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(fetched(server, offer))
        for text, _, hashed, *row in db.execute("SELECT * FROM stock"):
            assert hashed == row_hash(key, "stock", text, row)
            digest = digest.add(hashed)
    position = offer.positions["main"]
    assert (digest.count, digest.hex) == (position.count, position.digest)
    assert digest.count == offer.rows == ROWS
    return offer


shared = pytest.mark.parametrize("database", ["postgres"], indirect=True)
"""An embedded database has one server."""

POINTS = ["snapshot.mid:2", "file.written:1", "file.before_keep:1", "file.kept:1"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_a_file_is_made(
    start: Callable[..., ServerProcess], point: str, database: str, tmp_path: Path
) -> None:
    server = start(point)
    found = ask(server)
    assert found is None or found[1].offers == []
    wait_until(lambda: not server.running, DONE, "the server's death")
    again = start()
    check(again)
    left = [path for path in tmp_path.rglob("build-*") if path.is_dir()]
    assert left == [], "what the dead one has left is removed"
    if not database.startswith("postgresql"):
        names = {path.suffix for path in Path(f"{database}-files").iterdir()}
        assert names <= {".data", ".json", ".lock"}


@shared
def test_one_of_two_builds_and_both_serve(start: Callable[..., ServerProcess]) -> None:
    servers = [start(), start()]
    offers = [check(server) for server in servers]
    assert offers[0].id == offers[1].id
    assert fetched(servers[0], offers[1]) == fetched(servers[1], offers[0])
    servers[0].kill()
    assert check(servers[1]).id == offers[0].id


@shared
def test_the_other_takes_over(start: Callable[..., ServerProcess]) -> None:
    doomed, other = start("snapshot.mid:30"), start()
    ask(doomed)

    def over() -> bool:
        found = ask(other)
        assert found is not None
        return bool(found[1].offers)

    wait_until(over, DONE, "a file")
    assert not doomed.running
    check(other)
