"""Names of a moment: in the order of time, and each once, also within one second."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from holdfast.replica.identity.accept import copy_beside
from holdfast.server.backup.place import named, outdated
from holdfast.sqlite import OpenOptions, driver
from holdfast.sqlite.moments import STAMPED, free_stamp, stamp

if TYPE_CHECKING:
    from pathlib import Path

NOW_US = 1_800_000_000_000_000


def test_a_name_that_is_taken_becomes_the_next_second() -> None:
    taken: list[str] = []
    for _ in range(3):
        taken.append(free_stamp(NOW_US, taken.__contains__))
    assert taken == sorted(set(taken))
    assert taken[0] == stamp(NOW_US)
    assert all(STAMPED.fullmatch(found) for found in taken)


def test_a_file_is_copied_twice_within_a_second(tmp_path: Path) -> None:
    """As when a command that was killed behind its copy is given again at once."""
    path = tmp_path / "till.db"
    with closing(driver().connect(str(path), OpenOptions())) as db:
        db.execute("CREATE TABLE t (a)")
        copies = [copy_beside(db, path, now_us=NOW_US) for _ in range(2)]
    assert len(set(copies)) == 2
    assert all(copy.read_bytes()[:6] == b"SQLite" for copy in copies)


def test_two_backups_of_one_second_in_a_folder_have_two_names(tmp_path: Path) -> None:
    for _ in range(2):
        named(tmp_path, "/srv/shop.db", NOW_US).touch()
    found = sorted(tmp_path.iterdir())
    assert len(found) == 2
    assert outdated(tmp_path, "/srv/shop.db", 1) == found[:1]
