"""Files over real HTTP: whole, from any byte on, by their path alone.

Checks I31.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
import pytest

from holdfast.core.limits import (
    FILE_DOWNLOADS_MAX,
    FILE_DOWNLOADS_PER_ADDRESS_MAX,
    FILE_PIECE_BYTES,
)
from holdfast.server.files.links import link
from holdfast.server.http import downloads
from holdfast.server.http.app import asgi
from holdfast.server.live.events import Hub
from holdfast.server.process.fair_limiter import FairLimiter
from holdfast.server.run import Stopper, serve
from holdfast.server.store.files import StoredFile

SIZE = 2 * FILE_PIECE_BYTES + 4321
BODY = random.Random(1).randbytes(SIZE)
NOW = 1_700_000_000_000_000


class Site:
    """A server with one file, and a client."""

    def __init__(self, server: Any, url: str, tmp_path: Path) -> None:
        self.server = server
        self.url = url
        self.file = StoredFile(
            id="0" * 31 + "1", key="ab" * 16, kind="snapshot", encoding="gzip", bytes=SIZE,
            sha256="cd" * 32, unpacked_bytes=SIZE, rows=1, scopes={}, made=NOW, ends=NOW * 2,
        )  # fmt: skip
        source = tmp_path / "source"
        source.write_bytes(BODY)
        build = server.store.files.begin(self.file.key)
        build.keep(self.file, source)
        build.close()
        self.path, _ = link(server.store.seal_secret, self.file.id, now_us=server.now)
        self.client = httpx2.Client(base_url=url, timeout=60)

    def get(self, path: str = "", **headers: str) -> httpx2.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path or self.path, headers=sent)


def nobody(_headers: Any) -> Any:
    raise AssertionError("a file needs no token")


@pytest.fixture
def site(server: Any, tmp_path: Path) -> Iterator[Site]:
    hub, stopper = Hub(), Stopper()
    ready: list[str] = []
    started = threading.Event()

    def on_ready(url: str) -> None:
        ready.append(url)
        started.set()

    app = asgi(server.service, nobody, hub=hub)
    thread = threading.Thread(
        target=serve, args=(app, "127.0.0.1", 0, on_ready), kwargs={"stopper": stopper}
    )
    thread.start()
    assert started.wait(20)
    site = Site(server, ready[0], tmp_path)
    yield site
    site.client.close()
    stopper.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_file_comes_whole(site: Site) -> None:
    answer = site.get()
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["etag"] == f'"{site.file.sha256}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert "content-encoding" not in answer.headers
    assert {"public", "immutable", "no-transform"} <= set(
        answer.headers["cache-control"].split(", ")
    )


def test_head_tells_without_a_body(site: Site) -> None:
    answer = site.client.head(site.path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(SIZE)
    assert site.get().content == BODY  # on the same connection


P = FILE_PIECE_BYTES
CUTS = sorted({0, 1, 2, 65_535, 65_536, P - 1, P, P + 1, 2 * P - 1, 2 * P, 2 * P + 1, SIZE - 1})


@pytest.mark.parametrize("cut", CUTS)
def test_a_download_goes_on_from_any_byte(site: Site, cut: int) -> None:
    answer = site.get(range=f"bytes={cut}-", if_range=f'"{site.file.sha256}"')
    assert (answer.status_code, answer.content) == (206, BODY[cut:])
    assert answer.headers["content-range"] == f"bytes {cut}-{SIZE - 1}/{SIZE}"
    for length in (1, 2, P, P + 1):
        part = BODY[cut : cut + length]
        answer = site.get(range=f"bytes={cut}-{cut + length - 1}")
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["content-length"] == str(len(part))
    if cut:
        assert site.get(range=f"bytes=-{cut}").content == BODY[-cut:]


@pytest.mark.parametrize(
    ("asked", "status"),
    [(f"bytes={SIZE}-", 416), (f"bytes={SIZE + 10}-{SIZE + 20}", 416), ("bytes=-0", 416),
     (f"bytes=0-{SIZE * 9}", 206), (f"bytes=-{SIZE * 9}", 206), ("bytes=5-4", 200),
     ("bytes=-", 200), ("bytes=0-1,3-4", 200), ("lines=0-1", 200), ("bytes=a-b", 200),
     ("bytes=" + "9" * 30 + "-", 200), ("", 200)],
)  # fmt: skip
def test_odd_ranges(site: Site, asked: str, status: int) -> None:
    answer = site.get(range=asked)
    assert answer.status_code == status
    assert answer.content == (b"" if status == 416 else BODY)
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{SIZE}"


def test_a_range_of_another_file_is_not_honoured(site: Site) -> None:
    for tag in ('"' + "0" * 64 + '"', f'W/"{site.file.sha256}"', "Mon, 23 Nov 2026 14:00:00 GMT"):
        answer = site.get(range="bytes=5-", if_range=tag)
        assert (answer.status_code, answer.content) == (200, BODY)


@pytest.mark.parametrize("tag", ['"%s"', 'W/"%s"', '"x", "%s"', "*"])
def test_who_has_it_is_told_so(site: Site, tag: str) -> None:
    answer = site.get(if_none_match=tag.replace("%s", site.file.sha256))
    assert (answer.status_code, answer.content) == (304, b"")
    assert site.get(if_none_match='"other"').status_code == 200


def test_a_bad_path_is_not_there(site: Site) -> None:
    told = set()
    good = urlsplit(site.path)
    for path in (
        good.path,
        f"{good.path}?{good.query}0",
        f"{good.path}?sign=0&until=9",
        f"/v1/files/{'0' * 32}?{good.query}",
        f"/v1/files/..%2f..%2fserver.db?{good.query}",
        f"/v1/files/{'9' * 5000}?{good.query}",
    ):
        answer = site.get(path)
        told.add((answer.status_code, answer.json()["error"]["code"]))
    assert told == {(404, "not_found")}
    site.server.pass_time(86_400)
    assert site.get().json()["error"]["code"] == "not_found"


def test_a_file_that_is_removed_on_the_way_breaks_off(site: Site, monkeypatch: Any) -> None:
    """Never an answer that looks whole; the device asks again and is offered another."""
    pieces = site.server.store.files.piece

    def piece(file: StoredFile, number: int) -> bytes:
        if number == 1:
            site.server.store.files.remove(file.id)
        return pieces(file, number)  # type: ignore[no-any-return]

    monkeypatch.setattr(site.server.store.files, "piece", piece)
    with pytest.raises(httpx2.RemoteProtocolError):
        site.get()
    assert site.get().status_code == 404


def raw_request(site: Site, *, address: str = "127.0.0.1", answered: bool = True) -> socket.socket:
    url = urlsplit(site.url)
    raw = socket.create_connection(
        (str(url.hostname), int(url.port or 0)), source_address=(address, 0)
    )
    raw.sendall(f"GET {site.path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    if answered:
        assert raw.recv(12) == b"HTTP/1.1 200"
    return raw


def _all_free(stats: dict[str, int]) -> bool:
    return stats["pool_available"] == stats["pool_size"] > 0


@pytest.fixture
def endless(site: Site, monkeypatch: Any) -> Site:
    """Its file has more bytes than sockets hold; each piece is read from the store."""
    large = msgspec.structs.replace(site.file, bytes=256 * FILE_PIECE_BYTES)
    pieces = site.server.store.files.piece
    monkeypatch.setattr(site.server.store.files, "piece", lambda _file, _n: pieces(site.file, 0))
    monkeypatch.setattr(site.server.service, "file", lambda *_: large)
    return site


def test_slow_readers_hold_nothing_of_the_database(endless: Site) -> None:
    readers = [raw_request(endless) for _ in range(30)]
    if endless.server.postgres:
        store = endless.server.store
        for pool in (store._readers, store._writers):
            until(lambda pool=pool: _all_free(pool.get_stats()))  # type: ignore[misc]  # it binds the name
    assert endless.get(range="bytes=0-9").content == BODY[:10]  # and keep nobody from reading
    for reader in readers:
        reader.close()


@pytest.fixture
def places(monkeypatch: Any) -> Callable[..., list[Any]]:
    """Makes the downloads of a server few; a list with them, once it was asked for one."""

    def few(total: int, *, per_address: int, wait_s: float) -> list[Any]:
        held: list[Any] = []
        real = downloads.Downloads.answer

        async def answer(self: Any, request: Any) -> Any:
            if not held:
                self._places = FairLimiter(total, per_owner=per_address)
                self._wait_s = wait_s
                held.append(self)
            return await real(self, request)

        monkeypatch.setattr(downloads.Downloads, "answer", answer)
        return held

    return few


def test_downloads_at_the_same_time_are_bounded(endless: Site, places: Any) -> None:
    assert FILE_DOWNLOADS_MAX > FILE_DOWNLOADS_PER_ADDRESS_MAX > 3
    held = places(3, per_address=3, wait_s=0.02)
    readers = [raw_request(endless) for _ in range(3)]
    refused = endless.get()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
    assert "retry-after" in refused.headers
    for reader in readers:
        reader.close()
    until(lambda: not held[0]._places._used)
    assert len(endless.get().content) == 256 * FILE_PIECE_BYTES


def test_one_address_leaves_places_for_others_and_waits_for_its_own(
    endless: Site, places: Any
) -> None:
    held = places(3, per_address=2, wait_s=3600)
    readers = [raw_request(endless) for _ in range(2)]
    third = raw_request(endless, answered=False)
    until(lambda: held[0]._places.waiting("127.0.0.1"))
    other = raw_request(endless, address="127.0.0.2")  # comes at once
    readers.pop().close()
    third.settimeout(60)
    assert third.recv(12) == b"HTTP/1.1 200"
    for reader in (*readers, third, other):
        reader.close()
    until(lambda: not held[0]._places._used)


def until(condition: Callable[[], Any]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come true")
