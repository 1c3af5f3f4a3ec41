"""What a damaged file still holds goes on, waits for a person, or is listed: nothing else.

The files are real, the damage is that of disks and of copies made at the wrong moment: pages
overwritten or zeroed, a header gone, a file cut off, flipped bytes, a log that is damaged or torn.

Checks I34.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.core.errors import DatabaseCorrupt, DatabaseError, ReplicaError
from holdfast.core.limits import SALVAGES_MAX
from holdfast.core.values import Value
from holdfast.replica.host import Host
from holdfast.replica.replica import Replica
from holdfast.replica.salvage.keeping import suspect, suspicion
from holdfast.replica.salvage.pages import Pages
from holdfast.replica.salvage.salvage import SalvageReport, is_sound, salvage
from holdfast.replica.salvage.trees import Trees
from holdfast.schema import Column, Schema, Table
from holdfast.sqlite import OpenOptions, driver

PAGE = 4096
ITEM = Table(
    name="item",
    key=("id",),
    columns=(
        Column("id"),
        Column("name", default=""),
        Column("sku", nullable=True),
        Column("stock", "integer", merge="counter"),
    ),
    scopes=("main",),
    unique=(("sku",),),
)
PART = Table(
    name="part",
    key=("item", "n"),
    columns=(Column("item"), Column("n", "integer"), Column("note", default="")),
    scopes=("main",),
)
SCHEMA = Schema(
    name="workshop",
    tables=(ITEM, PART),
    local=("CREATE TABLE IF NOT EXISTS draft (id TEXT PRIMARY KEY, text TEXT)",),
)
Work = dict[int, tuple[str, list[tuple[Value, ...]]]]
"""By number: a transaction's id, and its changes."""


def salvaged(path: Path, schema: Schema | None = SCHEMA) -> SalvageReport:
    return salvage(path, schema, driver=driver(), host=Host(), asked=True)


def work(path: Path, states: tuple[str, ...] = ("pending", "sent")) -> Work:
    """What a sound file's outbox holds."""
    found: Work = {}
    marks = ", ".join("?" * len(states))
    with closing(driver().connect(str(path), OpenOptions(look_only=True))) as db:
        for number, id_ in db.execute(
            f"SELECT number, id FROM holdfast_tx WHERE state IN ({marks})", states
        ):
            changes = [
                (table, *row)
                for table in ("item", "part")
                for row in db.execute(
                    f"SELECT * FROM holdfast_change_{table} WHERE tx = ? ORDER BY key", (number,)
                )
            ]
            found[int(str(number))] = str(id_), changes
    return found


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of a device that worked without a server: sealed work, and a log."""
    path = tmp_path_factory.mktemp("busy") / "till.db"
    with Replica.open(path, SCHEMA) as replica:
        for number in range(160):
            with replica.transaction() as db:
                db.execute(
                    "INSERT INTO item (id, name, stock) VALUES (?, ?, ?)",
                    (f"i{number:03}", f"Item {number} " + "x" * 60, number),
                )
                db.execute("INSERT INTO part VALUES (?, 1, ?)", (f"i{number:03}", "y" * 60))
        replica.seal()
        with replica.transaction() as db:
            db.execute("UPDATE item SET stock = stock - 1 WHERE id < 'i020'")
        with replica.transaction() as db:
            db.execute("DELETE FROM part WHERE item = 'i005'")
            db.execute("INSERT INTO draft VALUES ('d1', 'half a sentence')")
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole_work(busy: bytes, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """All of its transactions, sealed."""
    path = tmp_path_factory.mktemp("whole") / "till.db"
    path.write_bytes(busy)
    with Replica.open(path, SCHEMA) as replica:
        replica.seal()
    return work(path)


def _a_page(data: bytearray, chance: random.Random, fill: Callable[[int], bytes]) -> None:
    at = chance.randrange(len(data) // PAGE) * PAGE
    data[at : at + PAGE] = fill(PAGE)


def overwritten(data: bytearray, chance: random.Random) -> None:
    _a_page(data, chance, chance.randbytes)


def zeroed(data: bytearray, chance: random.Random) -> None:
    _a_page(data, chance, bytes)


def five_pages(data: bytearray, chance: random.Random) -> None:
    for _ in range(5):
        _a_page(data, chance, chance.randbytes)


def cut_off(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data)) :]


def all_zero(data: bytearray, _chance: random.Random) -> None:
    data[:] = bytes(len(data))


DAMAGE = (overwritten, zeroed, five_pages, cut_off, all_zero)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__)
def test_work_goes_on_whole_or_waits_or_is_listed(
    damage: Callable[[bytearray, random.Random], None],
    seed: int,
    busy: bytes,
    whole_work: Work,
    tmp_path: Path,
) -> None:
    path, data = tmp_path / "till.db", bytearray(busy)
    damage(data, random.Random(f"{damage.__name__} {seed}"))
    path.write_bytes(data)

    report = salvaged(path)

    assert is_sound(path, driver())
    assert Path(report.file).read_bytes() == bytes(data), "the damaged file is kept as it was"
    goes_on, waits = work(path), work(path, ("refused", "held"))
    original = dict(whole_work.values())
    for id_, changes in goes_on.values():
        assert len(changes) == len(original[id_]), "nothing is sent that is not whole"
        for row, before in zip(changes, original[id_], strict=True):
            assert (row[2:6], row[7:]) == (before[2:6], before[7:])  # [6]: of what it builds on
    if report.ok:
        assert len(goes_on) == len(original)
        assert not waits
    elif len(goes_on) + len(waits) < len(original):
        assert report.lost, "what is missing is said"
    assert report.transactions == len(goes_on)
    assert report.to_inbox == len(waits)


@pytest.mark.parametrize("size", [16, 100])
def test_a_file_without_its_header_loses_nothing(
    size: int, busy: bytes, whole_work: Work, tmp_path: Path
) -> None:
    path = tmp_path / "till.db"
    path.write_bytes(bytes(size) + busy[size:])
    report = salvaged(path, None)
    assert (report.ok, report.lost) == (True, ())
    assert work(path) == whole_work
    with closing(driver().connect(str(path), OpenOptions())) as db:
        assert db.execute("SELECT * FROM draft") == [("d1", "half a sentence")]


def test_a_flipped_byte_of_the_list_of_tables_loses_nothing(
    busy: bytes, whole_work: Work, tmp_path: Path
) -> None:
    path = tmp_path / "till.db"
    at = busy.index(b"number INTEGER PRIMARY KEY,\n  id TEXT")
    path.write_bytes(busy[:at] + b"x" + busy[at + 1 :])
    assert salvaged(path).ok
    assert work(path) == whole_work


def live(tmp_path: Path, copy: Path, *, checkpoint: bool = False) -> Work:
    """Copy a file while it is open: all that was committed lately is in its log."""
    path = tmp_path / "live.db"
    with Replica.open(path, SCHEMA) as replica:
        for number in range(30):
            with replica.transaction() as db:
                db.execute("INSERT INTO item (id, stock) VALUES (?, 1)", (f"i{number:03}",))
        replica.seal()
        if checkpoint:
            with closing(driver().connect(str(path), OpenOptions())) as db:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        with replica.transaction() as db:
            db.execute("INSERT INTO part VALUES ('i001', 1, 'last')")
        replica.seal()
        for ending in ("", "-wal"):
            copy.with_name(copy.name + ending).write_bytes(
                path.with_name(path.name + ending).read_bytes()
            )
        return work(path)


def test_the_log_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    original = live(tmp_path, path)
    path.write_bytes(bytes(PAGE) + path.read_bytes()[PAGE:])
    assert salvaged(path).ok
    assert work(path) == original
    assert not path.with_name("till.db-wal").exists() or is_sound(path, driver())


def test_a_damaged_frame_of_the_log_takes_only_its_own_page(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    original = live(tmp_path, path, checkpoint=True)
    log = path.with_name("till.db-wal")
    data = bytearray(log.read_bytes())
    frame = 24 + PAGE
    for at in range(32 + 3 * frame, len(data), 9 * frame):
        data[at + 100 : at + 200] = bytes(100)
    log.write_bytes(data)
    report = salvaged(path)
    goes_on = work(path)
    assert goes_on.items() <= original.items(), "nothing but what there was"
    assert len(goes_on) + report.to_inbox >= len(original) or report.lost


def test_a_torn_copy_is_salvaged(tmp_path: Path) -> None:
    """The first half of the file is from before a checkpoint, the second from after it, and the
    log is not there at all."""
    path, later = tmp_path / "till.db", tmp_path / "later.db"
    live(tmp_path, path)
    early = path.read_bytes()
    (tmp_path / "live.db").replace(later)
    half = len(early) // 2 // PAGE * PAGE
    path.write_bytes(early[:half] + later.read_bytes()[half:])
    path.with_name("till.db-wal").unlink()
    salvaged(path)
    with Replica.open(path, SCHEMA) as replica, replica.transaction() as db:
        db.execute("INSERT INTO item (id, stock) VALUES ('new', 1)")
    assert is_sound(path, driver())


# --- what is not whole ------------------------------------------------------------------------


def change_pages(data: bytes, table: str, path: Path) -> list[int]:
    """The leaves of a table of changes, in order."""
    path.write_bytes(data)
    pages = Pages(path)
    try:
        trees = Trees(pages)
        root = trees.objects[f"holdfast_change_{table}"].root
        return sorted(trees.rows(root).reached - {root})
    finally:
        pages.close()


def test_half_a_transaction_waits_with_the_keys_of_the_other_half(
    busy: bytes, whole_work: Work, tmp_path: Path
) -> None:
    path = tmp_path / "till.db"
    lost = change_pages(busy, "part", path)[0]
    data = bytearray(busy)
    data[(lost - 1) * PAGE : lost * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    report = salvaged(path)
    assert not report.ok
    assert "part i000/1 (transaction 1)" in report.lost
    goes_on, waits = work(path), work(path, ("refused", "held"))
    assert len(goes_on) + len(waits) == len(whole_work)
    for number in waits.keys() - {161, 162}:
        assert [row[0] for row in waits[number][1]] == ["item"], "the half that could be read"
    with Replica.open(path, SCHEMA) as replica:
        item = replica.refused()[0]
        assert (item.state, item.code) == ("refused", "damaged")
        assert "part i000/1" in item.message
        replica.discard(item.id)


def test_what_builds_on_half_a_transaction_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    with Replica.open(path, SCHEMA) as replica:
        for number in range(60):
            with replica.transaction() as db:
                db.execute("INSERT INTO item (id, stock) VALUES (?, 1)", (f"i{number:03}",))
                db.execute("INSERT INTO part VALUES (?, 1, ?)", (f"i{number:03}", "x" * 60))
        replica.seal()
        with replica.transaction() as db:
            db.execute("UPDATE part SET note = 'second' WHERE item = 'i000'")
        replica.seal()
    data = bytearray(path.read_bytes())
    lost = change_pages(bytes(data), "part", path)[0]
    data[(lost - 1) * PAGE : lost * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    salvaged(path)
    with Replica.open(path, SCHEMA) as replica:
        states = {item.number: (item.state, item.held_by) for item in replica.refused()}
        assert states[1] == ("refused", 0)
        assert states[61] == ("held", 1)


def test_sent_work_of_nobody_knows_whom_waits(busy: bytes, tmp_path: Path) -> None:
    """Without the row that says which replica it was, no server could match what it had sent."""
    path = tmp_path / "till.db"
    path.write_bytes(busy)
    with closing(driver().connect(str(path), OpenOptions())) as db:
        db.execute("UPDATE holdfast_tx SET state = 'sent' WHERE number <= 3")
        ((root,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'holdfast_state'")
    data = bytearray(path.read_bytes())
    at = (int(str(root)) - 1) * PAGE
    data[at : at + PAGE] = bytes(PAGE)
    path.write_bytes(data)
    report = salvaged(path)
    with Replica.open(path, SCHEMA) as replica:
        assert {item.number: item.code for item in replica.refused()} == {
            1: "damaged", 2: "damaged", 3: "damaged", 161: "held"
        }, "and what was written last builds on them"  # fmt: skip
        assert (replica.status.sent, replica.status.pending) == (report.transactions, 0)


def test_what_waited_in_the_inbox_still_does(busy: bytes, tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    path.write_bytes(busy)
    with closing(driver().connect(str(path), OpenOptions())) as db:
        db.execute(
            "UPDATE holdfast_tx SET state = 'refused', code = 'rule', message = 'No.' "
            "WHERE number = 2"
        )
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    assert salvaged(path).ok
    with Replica.open(path, SCHEMA) as replica:
        (item,) = replica.refused()
        assert (item.number, item.code, item.message) == (2, "rule", "No.")


def test_a_file_that_says_no_schema_needs_one(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    path.write_bytes(bytes(10 * PAGE))
    with pytest.raises(ReplicaError) as caught:
        salvaged(path, None)
    assert caught.value.code == "schema_needed"
    assert path.read_bytes() == bytes(10 * PAGE)


# --- by itself --------------------------------------------------------------------------------


def test_opening_a_damaged_file_saves_what_is_in_it(busy: bytes, tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    path.write_bytes(bytes(100) + busy[100:])
    with Replica.open(path, SCHEMA) as replica:
        assert replica.salvaged is not None
        assert replica.salvaged.ok
        assert replica.query("SELECT stock FROM item WHERE id = 'i001'") == [(0,)]
    with Replica.open(path, SCHEMA) as replica:
        assert replica.salvaged is None, "once"


def test_a_suspect_file_is_checked_at_the_next_open(busy: bytes, tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    path.write_bytes(busy)
    suspect(path)
    with Replica.open(path, SCHEMA) as replica:
        assert replica.salvaged is None, "it was a false alarm"
    assert not suspicion(path).exists()
    data = bytearray(path.read_bytes())
    lost = change_pages(bytes(data), "part", tmp_path / "look.db")[0]
    data[(lost - 1) * PAGE : lost * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    suspect(path)
    with Replica.open(path, SCHEMA) as replica:
        assert replica.salvaged is not None


@pytest.mark.slow
def test_a_disk_that_damages_it_again_and_again_is_named(busy: bytes, tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    for number in range(SALVAGES_MAX):
        path.write_bytes(bytes([number] * 100) + busy[100:])
        path.with_name("till.db-wal").unlink(missing_ok=True)
        Replica.open(path, SCHEMA).close()
    damaged = bytes([255] * 100) + busy[100:]
    path.write_bytes(damaged)
    with pytest.raises(DatabaseCorrupt, match="check the disk"):
        Replica.open(path, SCHEMA)
    assert path.read_bytes() == damaged
    assert salvaged(path).ok, "a person may still ask for it"


def test_a_file_that_another_process_has_open_is_left_alone(busy: bytes, tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    path.write_bytes(busy)
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
        "db.execute('PRAGMA journal_mode = wal'); db.execute('SELECT 1 FROM item').fetchall(); "
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ReplicaError) as caught:
            salvaged(path)
        other.communicate()
    assert caught.value.code == "replica_busy"
    assert list(tmp_path.glob("*.damaged-*")) == []


# --- killed on the way ------------------------------------------------------------------------

STEP = (
    "import sys; from pathlib import Path; from holdfast.replica.host import Host; "
    "from holdfast.replica.salvage.salvage import salvage; from holdfast.sqlite import driver; "
    "salvage(Path(sys.argv[1]), None, driver=driver(), host=Host(), asked=True)"
)
POINTS = (
    "salvage.aside", "salvage.rebuilt", "salvage.draft", "salvage.log_gone", "salvage.placed"
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_it_is_done_again(point: str, tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    original = live(tmp_path, path, checkpoint=True)
    damaged = bytes(100) + path.read_bytes()[100:]
    path.write_bytes(damaged)
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(path)],
        env={**os.environ, "HOLDFAST_FAILPOINT": point}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Replica.open(path, SCHEMA) as replica:
        assert (replica.salvaged is None) == (point == "salvage.placed")
    assert work(path) == original
    kept = [one for one in tmp_path.glob("till.db.damaged-*") if not one.name.endswith("-wal")]
    assert len(kept) == 1, "it is put aside once"
    assert not list(tmp_path.glob(".till.db*")), "no draft is left"


def test_a_full_disk_leaves_it_as_it_was(busy: bytes, tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    damaged = bytes(100) + busy[100:]
    path.write_bytes(damaged)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)); "
    done = subprocess.run(
        [sys.executable, "-c", "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
         + limited + STEP, str(path)],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert DatabaseError.__name__ in done.stderr or "Database" in done.stderr
    assert path.read_bytes() == damaged
    assert salvaged(path).ok
