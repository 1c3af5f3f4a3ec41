"""Two devices with different scopes, and rows that move between them.

Checks I23, I24, I25.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import MakeWorld, World

pytestmark = pytest.mark.acceptance

SCHEMA = {
    "name": "stores",
    "generation": 1,
    "tables": [
        {
            "name": "item",
            "key": ["id"],
            "columns": [
                {"name": "id", "type": "text"},
                {"name": "store_id", "type": "text", "default": "1"},
                {"name": "note", "type": "text", "default": ""},
                {"name": "on_hand", "type": "integer", "merge": "counter"},
            ],
            "scopes": ["store/{store_id}"],
        }
    ],
}
TOKENS = """\
[one]
user = "anna"
device = "device-1"
read = ["store/1"]
write = ["store/1"]

[two]
user = "ben"
device = "device-2"
read = ["store/2"]
write = ["store/2"]

[both]
user = "office"
device = "device-both"
read = ["store/1", "store/2"]
write = ["store/1", "store/2"]

[looks]
user = "audit"
device = "device-looks"
read = ["store/1", "store/2"]
write = ["store/2"]
"""
ITEMS = "SELECT id FROM item ORDER BY 1"


@pytest.fixture
def world(make_world: MakeWorld, tmp_path: Path) -> World:
    schema = tmp_path / "stores.json"
    schema.write_text(json.dumps(SCHEMA))
    return make_world(schema=schema, tokens=TOKENS)


def plainly(piece: bytes) -> bytes:
    """A request as of one who cannot unpack anything."""
    piece = re.sub(rb"(?i)\r\naccept-encoding:[^\r\n]*", b"", piece)
    return re.sub(rb"(?i)(\r\nholdfast-echo:)", rb"\r\naccept-encoding: identity\1", piece)


class Recorder:
    """Passes bytes on to the server and keeps a copy of what comes back."""

    def __init__(self, port: int) -> None:
        self.received = bytearray()
        self._upstream = port
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self._spawn(self._accept, self._sockets[0])

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._upstream))
                self._sockets += [near, far]
                self._spawn(self._pump, near, far, False)
                self._spawn(self._pump, far, near, True)

    def _pump(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if keep:
                    self.received += piece
                # Uncompressed answers, so that a canary would be seen.
                target.sendall(plainly(piece))
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()


@pytest.fixture
def recorder(world: World) -> Iterator[Recorder]:
    made = Recorder(world.port)
    yield made
    made.close()


def test_a_row_that_moves_leaves_one_device_and_reaches_the_other(world: World) -> None:
    one, two = world.device("one", "one"), world.device("two", "two")
    both = world.device("both", "both")
    everybody = (one, two, both)
    one.shell("INSERT INTO item (id, store_id, on_hand) VALUES ('a', '1', 10), ('b', '1', 5)")
    for device in everybody:
        device.sync()
    assert [device.query(ITEMS) for device in everybody] == [[("a",), ("b",)], [], [("a",), ("b",)]]

    both.shell("UPDATE item SET store_id = '2', on_hand = on_hand - 1 WHERE id = 'a'")
    for device in (both, one, two):
        device.sync()
    assert [device.query(ITEMS) for device in everybody] == [[("b",)], [("a",)], [("a",), ("b",)]]
    assert two.query("SELECT on_hand FROM item") == [(9,)]

    # There and back again, and an edit of the device that saw it last is not lost.
    two.shell("UPDATE item SET on_hand = on_hand - 2 WHERE id = 'a'")
    both.shell("UPDATE item SET store_id = '1' WHERE id = 'a'")
    for device in (two, both, one, two, both):
        device.sync()
    assert [device.query(ITEMS) for device in everybody] == [[("a",), ("b",)], [], [("a",), ("b",)]]
    assert one.query("SELECT on_hand FROM item WHERE id = 'a'") == [(7,)]
    for device in everybody:
        with device.opened() as replica:
            assert replica.verify().ok


def test_an_edit_of_a_row_that_has_moved_away_goes_to_the_inbox(world: World) -> None:
    one, both = world.device("one", "one"), world.device("both", "both")
    one.shell("INSERT INTO item (id, note) VALUES ('a', 'mine')")
    for device in (one, both):
        device.sync()
    both.shell("UPDATE item SET store_id = '2' WHERE id = 'a'")
    both.sync()
    one.shell("UPDATE item SET note = 'edited meanwhile'")
    one.sync()
    told = one.cli("refused", "--json").document["refused"]
    assert [item["code"] for item in told] == ["row_gone"], "the same as for a row that is not"
    assert "edited meanwhile" in json.dumps(told)
    assert one.query(ITEMS) == []
    both.sync()
    assert both.query("SELECT note FROM item") == [("mine",)]


def test_no_byte_of_another_scope_reaches_a_device(world: World, recorder: Recorder) -> None:
    both = world.device("both", "both")
    canaries = [f"canary-{number:04}-of-store-two" for number in range(40)]
    values = ", ".join(f"('k-{text}', '2', '{text}')" for text in canaries)
    both.shell(f"INSERT INTO item (id, store_id, note) VALUES {values}")
    both.shell("INSERT INTO item (id, store_id, note) VALUES ('open', '1', 'seen-by-store-one')")
    both.sync()

    one = world.device("one", "one", url=recorder.url)
    both.shell("UPDATE item SET note = note || '!' WHERE store_id = '2'")
    both.shell("DELETE FROM item WHERE id = 'k-canary-0000-of-store-two'")
    both.sync()
    # It may guess a key, and collide with what it may not see.
    one.shell("INSERT INTO item (id, store_id, note) VALUES ('k-canary-0001-of-store-' || 'two', "
              "'1', 'guess')")  # fmt: skip
    one.sync()
    with one.opened() as replica:
        assert replica.verify().ok
        (refused,) = replica.refused()
        assert refused.code == "forbidden"
    assert b"seen-by-store-one" in recorder.received, "the recorder sees nothing"
    assert b"content-encoding" not in recorder.received.lower(), "it does not see all"
    assert b"canary-0002" not in recorder.received
    assert not [
        text for text in canaries if text.encode() in recorder.received and "0001" not in text
    ]
    assert b"-of-store-two!" not in recorder.received
    assert b"store/2" not in recorder.received
    files = b"".join(path.read_bytes() for path in world.path.glob("one.db*"))
    assert b"seen-by-store-one" in files
    assert b"canary-0002" not in files
    assert not [text for text in canaries if text.encode() in files and "0001" not in text]
    assert both.query("SELECT count(*) FROM item WHERE note LIKE 'canary%!'") == [(39,)]


def test_a_lost_scope_leaves_the_device_with_its_rows(world: World) -> None:
    both = world.device("both", "both")
    both.shell(
        "INSERT INTO item (id, store_id, note) VALUES ('a', '1', 'x'), ('b', '2', 'secret-b')"
    )
    both.sync()
    both_scopes = 'read = ["store/1", "store/2"]\nwrite = ["store/1", "store/2"]'
    assert TOKENS.count(both_scopes) == 1
    only_one = 'read = ["store/1"]\nwrite = ["store/1"]'
    world.tokens.write_text(TOKENS.replace(both_scopes, only_one))
    both.shell("UPDATE item SET note = 'pending-work' WHERE id = 'b'")
    both.sync()
    assert both.query(ITEMS) == [("a",)]
    assert both.query("SELECT scope FROM holdfast_scope") == [("store/1",)]
    told = both.cli("refused", "--json").document["refused"]
    assert [item["code"] for item in told] == ["row_gone"], "pending work must go to the inbox"
    with both.opened() as replica:
        assert replica.verify().ok

    # And it comes back with the scope.
    world.tokens.write_text(TOKENS)
    both.sync()
    assert both.query(ITEMS) == [("a",), ("b",)]


def test_a_scope_that_may_only_be_read_refuses_writes(world: World) -> None:
    looks, one = world.device("looks", "looks"), world.device("one", "one")
    one.shell("INSERT INTO item (id, note) VALUES ('a', 'x')")
    one.sync()
    looks.sync()
    with looks.opened() as replica:
        for sql in (
            "UPDATE item SET note = 'mine' WHERE id = 'a'",
            "INSERT INTO item (id, store_id) VALUES ('b', '1')",
            "INSERT INTO item (id, store_id) VALUES ('c', '2')",
        ):
            with replica.transaction() as db:
                db.execute(sql)
        report = replica.sync()
        assert (report.applied, report.refused, report.verified) == (1, 2, True)
        assert [item.code for item in replica.refused()] == ["forbidden", "forbidden"]
        for item in replica.refused():
            replica.discard(item.id)
        assert replica.sync().verified
    assert looks.query("SELECT id, note FROM item ORDER BY 1") == [("a", "x"), ("c", "")]
    world.check_equal(looks, table="item")
