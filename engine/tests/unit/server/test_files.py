"""First loads and long absences come as files: whole, of one moment, to who may read them.

Checks I25.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError, ProtocolError
from holdfast.core.limits import FILE_LINK_S, FILE_PIECE_BYTES, SNAPSHOT_KEEP_S
from holdfast.protocol.codec import decode_line
from holdfast.protocol.compression import unpack_bounded
from holdfast.protocol.messages import Checkpoint, FileOffer, Files, Gone, Nonces, Rows
from holdfast.server.files import builder
from holdfast.server.files.offers import FilePolicy
from holdfast.server.store import file_scratch

POLICY = FilePolicy(snapshot_rows_min=100, catchup_rows_min=80)


@pytest.fixture
def server(make_server: Callable[..., Any]) -> Any:
    return make_server(files=POLICY)


def until(condition: Callable[[], Any]) -> Any:
    """What a condition gives, once it gives something."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        if found := condition():
            return found
        threading.Event().wait(0.005)
    raise AssertionError("it did not come true")


def fill(server: Any, count: int, *, store: str = "1", first: int = 0) -> Any:
    peer = server.peer(f"filler-{store}-{first}")
    peer.commit(
        *(
            peer.change("insert", "task", f"t{store}-{n}", {"store_id": store, "text": f"n{n}"})
            for n in range(first, first + count)
        )
    )
    peer.sync()
    return peer


def proposed(peer: Any) -> Nonces:
    """The nonces of a peer's exchange, the same until it is answered with rows."""
    if not getattr(peer, "next_nonce", ""):
        peer.next_nonce = peer.server.random(8).hex()
    return Nonces(peer.nonce, peer.next_nonce)


_numbers = itertools.count()


def device(server: Any, **rights: Any) -> Any:
    return server.peer(f"d{next(_numbers)}", **rights)


def ask(peer: Any, **options: Any) -> list[Any]:
    options = {"files": ["zstd", "gzip"], "nonce": proposed(peer), **options}
    request = peer.request(**options)
    return list(peer.server.service.exchange(peer.principal, request, echo="e"))


def offers(peer: Any, **options: Any) -> list[FileOffer]:
    """What is offered, once nothing is being made any more; none when rows come."""

    def ready() -> list[Any] | None:
        lines = ask(peer, **options)
        if not isinstance(lines[1], Files):
            return [None]
        assert len(lines) == 3
        assert lines[2] == Checkpoint({}, 2)
        assert bool(lines[1].building) == bool(lines[1].retry_after_ms)
        return None if lines[1].building else lines[1].offers

    return [offer for offer in until(ready) if offer is not None]


def fetch(server: Any, offer: FileOffer) -> bytes:
    """A file by its path, as it comes, and unpacked."""
    path, _, query = offer.path.partition("?")
    asked = dict(part.split("=") for part in query.split("&"))
    file = server.service.file(path.removeprefix("/v1/files/"), asked["until"], asked["sign"])
    pieces = -(-file.bytes // FILE_PIECE_BYTES)
    packed = b"".join(server.service.piece(file, number) for number in range(pieces))
    assert (len(packed), hashlib.sha256(packed).hexdigest()) == (offer.bytes, offer.sha256)
    raw = unpack_bounded([packed], offer.encoding, bytes_max=2**30, ratio_max=None)
    assert len(raw) == offer.unpacked_bytes
    return raw


def rows_of(server: Any, offer: FileOffer) -> dict[tuple[str, str], Any]:
    """The rows of a snapshot file."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(fetch(server, offer))
        return {
            (table.name, key): (rev, tuple(row))
            for table in server.schema.all_tables
            for key, rev, _, *row in db.execute(f'SELECT * FROM "{table.name}"')
        }


def take(peer: Any, offer: FileOffer) -> None:
    """Take in a file as a replica would."""
    if offer.kind == "snapshot":
        found = rows_of(peer.server, offer)
        assert len(found) == offer.rows
        for name, item in found.items():
            if name not in peer.rows or peer.rows[name][0] < item[0]:
                peer.rows[name] = item
    else:
        lines: list[Any] = [decode_line(line) for line in fetch(peer.server, offer).splitlines()]
        sizes = [len(line.rows if isinstance(line, Rows) else line.keys) for line in lines]
        assert sum(sizes) == offer.rows
        apply_lines(peer, lines)
    peer.checkpoint = {**peer.checkpoint, **offer.positions}


def apply_lines(peer: Any, lines: list[Any]) -> None:
    with_ends = peer.apply.__func__
    head = ask(peer, files=[])[0]
    checkpoint, check = peer.checkpoint, peer.check_digests
    peer.check_digests = lambda: None
    nowhere: dict[str, Any] = dict.fromkeys(head.scopes)
    last = Checkpoint(nowhere, len(lines) + 1)
    with_ends(peer, [head, *lines, last])
    peer.check_digests, peer.checkpoint = check, checkpoint


def sync(peer: Any) -> list[str]:
    """An exchange with files, to its end: the kinds of files that were taken."""
    taken: list[str] = []
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        lines = ask(peer)
        if not isinstance(lines[1], Files):
            peer.apply(lines)
            peer.nonce, peer.next_nonce, peer.pending = peer.next_nonce, "", []
            return taken
        for offer in [] if lines[1].building else lines[1].offers:
            take(peer, offer)
            taken.append(offer.kind)
        if lines[1].building:
            threading.Event().wait(0.005)
    raise AssertionError("there is no end of files")


def truth(server: Any, **rights: Any) -> dict[tuple[str, str], Any]:
    """What a device that takes no files holds."""
    peer = device(server, **rights)
    peer.sync()
    return dict(peer.rows)


# --- first loads ----------------------------------------------------------------------------------


def test_a_large_scope_comes_as_a_file(server: Any) -> None:
    fill(server, 150)
    peer = device(server, read=("store/1",))
    (offer,) = offers(peer)
    assert (offer.kind, offer.rows, list(offer.positions)) == ("snapshot", 150, ["store/1"])
    assert rows_of(server, offer) == truth(server, read=("store/1",))
    assert sync(peer) == ["snapshot"]
    assert peer.rows == truth(server, read=("store/1",))
    assert peer.last_rows == []  # nothing has come twice


@pytest.mark.parametrize("options", [{"files": []}, {"files": ["br", "deflate"]}])
def test_who_cannot_take_files_gets_rows(server: Any, options: Any) -> None:
    fill(server, 150)
    peer = device(server, read=("store/1",))
    peer.sync(**options)
    assert len(peer.rows) == 150


def test_a_small_scope_comes_as_rows(server: Any) -> None:
    fill(server, 50)
    assert sync(device(server, read=("store/1",))) == []


def test_several_scopes_and_rows_between_them(server: Any) -> None:
    """Tasks are in the scope of their store, and all in "tasks"."""
    fill(server, 150, store="1")
    fill(server, 120, store="2")
    fill(server, 10, store="3")
    peer = device(server, read=("*",))
    peer.sync()
    other = device(server, read=("*",))
    assert sync(other) == ["snapshot"] * 3  # store/1, store/2, tasks
    assert other.rows == peer.rows


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_each_device_gets_an_encoding_that_it_has(server: Any, encoding: str) -> None:
    fill(server, 150)
    (offer,) = offers(device(server, read=("store/1",)), files=[encoding])
    assert offer.encoding == encoding
    assert len(rows_of(server, offer)) == 150


def test_an_answer_with_files_settles_nothing(server: Any) -> None:
    """What was pushed is kept, its outcome is told again, and the nonce is still the old one."""
    fill(server, 150)
    peer = device(server, write=("store/1", "tasks"))
    number = peer.insert("task", "mine", store_id="1", text="new")
    request = peer.request(files=["gzip"], nonce=proposed(peer))
    again = functools.partial(server.service.exchange, peer.principal, echo="e")

    def answered() -> Any:
        lines = list(again(request))
        return None if lines[1].building else lines

    head, files, last = until(answered)
    assert [(o.number, o.outcome) for o in head.outcomes] == [(number, "applied")]
    assert last == Checkpoint({}, 2)
    for offer in files.offers:
        take(peer, offer)
    lines = list(again(peer.request(files=["gzip"], nonce=request.nonce, epoch=head.epoch)))
    assert [(o.number, o.outcome) for o in lines[0].outcomes] == [(number, "applied")]
    peer.apply(lines)
    assert peer.row("task", "mine")["text"] == "new"
    assert server.query("SELECT count(*) FROM task") == [(151,)]


def test_one_file_serves_many_devices(server: Any) -> None:
    fill(server, 150)
    ids = {offers(device(server, read=("store/1",)), files=["gzip"])[0].id for n in range(5)}
    assert len(ids) == 1
    assert len(server.store.files.listed()) == 1


def test_what_moves_after_the_file_comes_as_rows(server: Any) -> None:
    writer = fill(server, 150)
    peer = device(server, read=("store/1",))
    offers(peer)
    for number in range(10):
        writer.update("task", f"t1-{number}", text="later")
    writer.delete("task", "t1-20")
    writer.sync()
    assert sync(peer) == ["snapshot"]
    assert len(peer.last_rows) == 10
    assert peer.last_gone == [("task", "t1-20")]
    assert peer.rows == truth(server, read=("store/1",))


def test_a_file_is_made_anew_when_much_has_moved(server: Any) -> None:
    writer = fill(server, 160)
    (first,) = offers(device(server, read=("store/1",)))

    def move(numbers: range) -> None:
        writer.commit(
            *(writer.change("update", "task", f"t1-{n}", {"text": f"m{n}"}) for n in numbers)
        )
        writer.sync()

    move(range(15))
    assert offers(device(server, read=("store/1",))) == [first]
    move(range(15, 40))  # offered still, and a new one is made
    assert offers(device(server, read=("store/1",))) == [first]
    second = until(lambda: [f for f in server.store.files.listed() if f.id != first.id])[0]
    assert [o.id for o in offers(device(server, read=("store/1",)))] == [second.id]
    move(range(40, 140))  # no more offered
    lines = ask(device(server, read=("store/1",)))
    assert lines[1].offers == []
    assert lines[1].building[0].scopes == ["store/1"]
    (third,) = offers(device(server, read=("store/1",)))
    assert third.positions["store/1"].version > second.scopes["store/1"].version
    assert sync(device(server, read=("store/1",))) == ["snapshot"]


def test_a_file_of_a_history_that_is_not_ours_is_not_offered(server: Any) -> None:
    """As after a restore of the database from a backup, the folder of files left as it was."""
    fill(server, 150)
    (offer,) = offers(device(server, read=("store/1",)))
    version = offer.positions["store/1"].version
    server.sql_unseen(f"UPDATE holdfast_commit SET digest = '{'0' * 32}' WHERE version = {version}")
    lines = ask(device(server, read=("store/1",)))
    assert [item.offers for item in lines if isinstance(item, Files)] in ([], [[]])


def test_a_file_below_the_floor_is_not_offered(server: Any) -> None:
    """What has left its scope since would be remembered by nobody."""
    writer = fill(server, 150)
    (old,) = offers(device(server, read=("store/1",)))
    writer.delete("task", "t1-3")
    writer.sync()
    writer.update("task", "t1-4", text="n")
    writer.sync()
    server.sql_unseen(f"UPDATE holdfast_scope SET floor = {old.positions['store/1'].version + 1}")
    (new,) = offers(device(server, read=("store/1",)))
    assert new.id != old.id
    assert new.rows == 149


# --- rights ---------------------------------------------------------------------------------------


def test_only_scopes_that_may_be_read_are_offered(server: Any) -> None:
    fill(server, 150, store="1")
    fill(server, 150, store="2")
    offers(device(server, read=("*",)))
    found = offers(device(server, read=("store/2",)))
    assert [list(offer.positions) for offer in found] == [["store/2"]]
    assert all(row[1][1] == "2" for row in rows_of(server, found[0]).values())


def test_rows_that_have_moved_out_of_sight_are_in_no_file(server: Any) -> None:
    writer = fill(server, 150)
    (first,) = offers(device(server, read=("store/1",)))
    writer.update("task", "t1-7", store_id="9", text="secret")
    writer.sync()
    server.pass_time(120)
    both = device(server, read=("store/1", "store/9"))
    assert [offer.id for offer in offers(both)] == [first.id]  # who sees where it went may
    (second,) = offers(device(server, read=("store/1",)))
    assert second.id != first.id
    assert ("task", "t1-7") not in rows_of(server, second)


def test_rows_that_keep_moving_away_end_in_a_catchup(server: Any) -> None:
    writer = fill(server, 150)
    offers(device(server, read=("store/1",)))
    writer.update("task", "t1-7", store_id="9")
    writer.sync()
    peer = device(server, read=("store/1",))
    assert sync(peer) == ["catchup"]
    assert peer.rows == truth(server, read=("store/1",))
    assert ("task", "t1-7") not in peer.rows


# --- long absences --------------------------------------------------------------------------------


def test_many_changes_come_as_a_catchup(server: Any) -> None:
    writer = fill(server, 90, store="1")
    fill(server, 30, store="2")
    peer = device(server, read=("store/1", "store/2"))
    peer.sync()
    for number in range(60):
        writer.update("task", f"t1-{number}", text="later")
    for number in range(60, 80):
        writer.delete("task", f"t1-{number}")
    for number in range(80, 85):
        writer.update("task", f"t1-{number}", store_id="9")
    for number in range(85, 90):
        writer.update("task", f"t1-{number}", store_id="2")
    writer.sync()
    (offer,) = offers(peer)
    assert (offer.kind, set(offer.positions)) == ("catchup", {"store/1", "store/2"})
    lines = [decode_line(line) for line in fetch(server, offer).splitlines()]
    assert sum(len(line.rows) for line in lines if isinstance(line, Rows)) == 65
    assert sum(len(line.keys) for line in lines if isinstance(line, Gone)) == 25
    assert offer.rows == 90
    assert sync(peer) == ["catchup"]
    assert peer.last_rows == []
    assert peer.rows == truth(server, read=("store/1", "store/2"))


def test_few_but_large_rows_come_as_a_catchup(make_server: Callable[..., Any]) -> None:
    server = make_server(files=FilePolicy(catchup_bytes_min=100_000))
    writer = fill(server, 70)
    peer = device(server, read=("store/1",))
    peer.sync()
    for number in range(65):
        writer.update("task", f"t1-{number}", text="x" * 1000)
    writer.sync()
    assert offers(peer) == []
    for number in range(65):
        writer.update("task", f"t1-{number}", text="y" * 10_000)
    writer.sync()
    assert sync(peer) == ["catchup"]
    assert peer.rows == truth(server, read=("store/1",))


def test_a_catchup_is_for_one_device_and_its_positions(server: Any) -> None:
    writer = fill(server, 90)
    peers = [device(server, read=("store/1",)) for n in range(2)]
    for peer in peers:
        peer.sync()
    writer.commit(*(writer.change("update", "task", f"t1-{n}", {"text": "m"}) for n in range(85)))
    writer.sync()
    (one,), (other,) = (offers(peer) for peer in peers)
    assert one.id != other.id
    assert offers(peers[0]) == [one]  # asked again, the same


def test_who_looked_before_a_file_was_kept_has_no_second_made(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may be kept between a look and what follows: it is not made again then."""
    fill(server, 150)
    peer = device(server, read=("store/1",))
    offered = offers(peer)
    files, looks = server.store.files, []
    find, begin = files.find, files.begin
    over = threading.Event()

    def stale(key: str) -> Any:
        looks.append(key)
        return None if len(looks) == 1 else find(key)

    class Told:
        """The build that was begun; tells when it has ended."""

        def __init__(self, build: Any) -> None:
            self.build = build

        def __getattr__(self, name: str) -> Any:
            return getattr(self.build, name)

        def close(self) -> None:
            self.build.close()
            over.set()

    server.pass_time(1)
    monkeypatch.setattr(files, "find", stale)
    monkeypatch.setattr(files, "begin", lambda key: Told(begin(key)))
    assert ask(peer)[1].building, "it is told that one is being made"
    assert over.wait(60)
    assert [offer.id for offer in offers(peer)] == [offer.id for offer in offered]
    assert len(files.listed()) == 1


# --- paths ----------------------------------------------------------------------------------------


def parts(offer: FileOffer) -> tuple[str, str, str]:
    path, _, query = offer.path.partition("?")
    asked = dict(part.split("=") for part in query.split("&"))
    return path.rpartition("/")[2], asked["until"], asked["sign"]


def test_a_path_is_good_for_its_file_and_time_alone(server: Any) -> None:
    fill(server, 150, store="1")
    fill(server, 150, store="2")
    one, other, _ = offers(device(server, read=("*",)))
    name, ends, sign = parts(one)
    assert server.service.file(name, ends, sign).sha256 == one.sha256
    bad = [
        (parts(other)[0], ends, sign),
        (name, str(int(ends) + 1), sign),
        (name, "0" + ends, sign + "0"),
        (name, ends, sign[::-1]),
        (name, ends, ""),
        (name, "", sign),
        (name, "\u0662", sign),
        (name, ends, "\u0662"),
        ("0" * 32, *parts(one)[1:]),
        ("../../etc/passwd", ends, sign),
    ]
    told = set()
    for asked in bad:
        with pytest.raises(ProtocolError) as caught:
            server.service.file(*asked)
        told.add(str(caught.value))
    server.pass_time(2 * FILE_LINK_S)
    with pytest.raises(ProtocolError) as caught:
        server.service.file(name, ends, sign)
    assert told == {str(caught.value)}
    assert caught.value.status == 404
    (again,) = offers(device(server, read=("store/1",)))
    assert (again.id, again.path != one.path) == (one.id, True)


# --- what goes wrong ------------------------------------------------------------------------------


def damage(server: Any, offer: FileOffer) -> None:
    if server.postgres:
        server.sql(
            "UPDATE holdfast_file_piece SET data = set_byte(data, 99, get_byte(data, 99) # 255) "
            f"WHERE file = '{offer.id}'"
        )
        return
    path = Path(f"{server.path}-files") / f"{offer.id}.data"
    data = bytearray(path.read_bytes())
    data[99] ^= 255
    path.write_bytes(data)


def test_a_damaged_file_is_not_sent_and_made_anew(server: Any) -> None:
    fill(server, 150)
    peer = device(server, read=("store/1",))
    (first,) = offers(peer)
    damage(server, first)
    file = server.service.file(*parts(first))
    with pytest.raises(HoldfastError, match="not_found"):
        server.service.piece(file, 0)
    with pytest.raises(ProtocolError, match="not_found"):
        server.service.file(*parts(first))
    server.pass_time(1)
    (second,) = offers(peer)
    assert second.id != first.id
    assert sync(peer) == ["snapshot"]


def test_where_no_file_can_be_made_rows_come(server: Any, monkeypatch: Any) -> None:
    fill(server, 150)
    server.sql_unseen("UPDATE task SET text = 'forged' WHERE id = 't1-5'")  # its digest is wrong
    peer = device(server, read=("store/1",))
    assert [offer.kind for offer in offers(peer)] == ["catchup"]
    failing = device(server, read=("store/1",))
    monkeypatch.setattr(server.store.files, "begin", lambda _key: 1 / 0)
    assert offers(failing) == []


def test_no_room_for_files(server: Any, monkeypatch: Any) -> None:
    fill(server, 150)
    monkeypatch.setattr(server.service._builder, "_bytes_max", 1000)
    peer = device(server, read=("store/1",))
    assert sync(peer) == []
    assert len(peer.rows) == 150
    assert server.store.files.listed() == []


def test_old_files_make_room_for_new_ones(server: Any, monkeypatch: Any) -> None:
    fill(server, 150, store="1")
    fill(server, 150, store="2")
    (one,) = offers(device(server, read=("store/1",)))
    monkeypatch.setattr(server.service._builder, "_bytes_max", one.bytes + 1000)
    server.pass_time(4 * FILE_LINK_S)
    (other,) = offers(device(server, read=("store/2",)))
    assert [file.id for file in server.store.files.listed()] == [other.id]


def test_files_are_removed_when_nobody_may_fetch_them(server: Any) -> None:
    fill(server, 150)
    (one,) = offers(device(server, read=("store/1",)))
    server.pass_time(SNAPSHOT_KEEP_S + FILE_LINK_S)
    (other,) = offers(device(server, read=("store/1",)))
    assert other.id != one.id  # the old one is offered no more, but still there
    assert {file.id for file in server.store.files.listed()} == {one.id, other.id}
    server.pass_time(3 * FILE_LINK_S)
    server.service.tidy_files()
    assert [file.id for file in server.store.files.listed()] == [other.id]


def test_a_build_under_constant_writes(server: Any) -> None:
    """Rows of one moment: the file's rows add up to the digest of its version, every time."""
    writer = fill(server, 120)
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            writer.commit(
                *(
                    writer.change("update", "task", f"t1-{n}", {"text": f"w{turn}"})
                    for n in range(turn % 7, 120, 7)
                ),
                writer.change("insert", "task", f"new-{turn}", {"store_id": "1"}),
            )
            writer.sync()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            peer = device(server, read=("store/1",))
            assert sync(peer) != []  # its digests are checked there
            server.pass_time(2 * 86_400)
    finally:
        stop.set()
        thread.join()


def test_a_server_that_stops_throws_away_what_is_half_made(server: Any, monkeypatch: Any) -> None:
    fill(server, 150)
    entered = threading.Event()
    write = builder.Builder._tell

    def tell(self: Any, *arguments: Any) -> None:
        entered.set()
        until(lambda: self._stopped)
        write(self, *arguments)

    monkeypatch.setattr(builder.Builder, "_tell", tell)
    peer = device(server, read=("store/1",))
    lines = ask(peer)
    assert (lines[1].building[0].kind, lines[1].building[0].total) == ("snapshot", 150)
    assert lines[1].retry_after_ms > 0
    assert entered.wait(30)
    monkeypatch.undo()
    server.reopen()
    assert server.store.files.listed() == []
    assert sync(peer) == ["snapshot"]


def test_builds_at_the_same_time_leave_each_other_alone(tmp_path: Path) -> None:
    """Whoever begins a build also removes what crashes have left."""
    failures: list[OSError] = []

    def work() -> None:
        try:
            for _ in range(200):
                scratch = file_scratch.Scratch(tmp_path)
                file_scratch.remove_abandoned(tmp_path)
                (scratch.path / "file").write_bytes(b"x")
                scratch.close()
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(tmp_path.iterdir()) == []
