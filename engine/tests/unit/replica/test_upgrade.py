"""A replica that an older engine made, with sealed and unsealed work in it, is opened by this one.

``data/replica_format_1.sql`` is the dump of such a file. Its outbox has three transactions (on
``item`` a sale and an insert; a new name; a delete of ``tag``), and what a foreign connection wrote
after them, unsealed: updates, deletes, inserts, an ``OR REPLACE`` over a unique value, an
``OR IGNORE`` that changed nothing, and a row that came and went.

Checks I32.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from replica_lab import LIBRARIES, Device, captured, dump

from holdfast.core.errors import DatabaseError, ReplicaError
from holdfast.replica.changes.outbox import next_batch
from holdfast.replica.storage.database import transaction, write_state
from holdfast.sql.replica import PROGRAM_FORMAT

OLD = (Path(__file__).parent / "data" / "replica_format_1.sql").read_text(encoding="utf-8")

UNSEALED = {
    "item": {
        "a": (True, True, ("k1", "Beaker", 7), ("k1", "Beaker", 8)),
        "b": (True, False, ("k2", "Jug", 5), (None, None, None)),
        "z": (False, True, (None, None, None), ("k2", "Instead", 0)),
    },
    "pair": {
        "x%2Fy/1": (True, False, ("one",), (None,)),
        "%25/2": (True, True, ("two",), (None,)),
    },
    "num": {
        "9": (False, True, (None,), ("nine",)),
        "-1": (True, True, ("minus",), ("least",)),
    },
    "raw": {"00ff/p%2F1": (True, True, ("r",), ("s",))},
    "tag": {"b%2Fc/100%25": (False, True, (), ())},
}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


def old_replica(folder: Path, *more: str) -> Path:
    path = folder / "r.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(OLD)
        for sql in more:
            db.executescript(sql)
    return path


def opened(path: Path, library: str) -> Device:
    return Device(path, library=library, schema=None)


def test_sealed_work_is_kept_as_it_was(library, tmp_path):
    path = old_replica(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        heads = db.execute("SELECT * FROM holdfast_tx").fetchall()
        notes = db.execute("SELECT * FROM holdfast_change_item WHERE tx < 4").fetchall()
    held = 6  # a column that is not there any more
    assert len(heads) == 3
    with closing(opened(path, library)) as phone:
        assert phone.rows("SELECT * FROM holdfast_tx") == [(*head, 0, 0) for head in heads]
        assert phone.rows("SELECT * FROM holdfast_change_item") == [
            (*note[:held], *note[held + 1 :]) for note in notes
        ]
        assert phone.rows("SELECT format FROM holdfast_state") == [(PROGRAM_FORMAT,)]


def test_a_change_that_was_set_aside_takes_its_transaction_along(library, tmp_path):
    path = old_replica(
        tmp_path, "UPDATE holdfast_change_item SET held = 1 WHERE tx = 1 AND key = 'a'"
    )
    with closing(opened(path, library)) as phone:
        assert phone.rows("SELECT number FROM holdfast_tx WHERE aside > 0") == [(1,)]
        assert phone.rows("SELECT key FROM holdfast_pending WHERE state = 'held'") == [
            ("a",), ("n",),
        ]  # fmt: skip


def test_unsealed_work_is_sealed_by_what_the_tables_hold(library, tmp_path):
    path = old_replica(tmp_path)
    with closing(opened(path, library)) as phone:
        before = dump(phone.db.app, phone.schema)
        assert phone.rows("SELECT count(*) FROM holdfast_pending WHERE tx = 4") == [(9,)]
        assert phone.seal_now() == 4
        assert captured(phone.db.app, 4, phone.schema) == UNSEALED
        assert dump(phone.db.app, phone.schema) == before
        assert phone.rows("SELECT base FROM holdfast_change_item WHERE tx = 4 ORDER BY key") == [
            (41,), (42,), (0,),
        ]  # fmt: skip
        assert phone.rows("SELECT after FROM holdfast_tx WHERE number = 4") == [("[]",)]


def test_it_writes_on_in_the_same_group_of_foreign_work(library, tmp_path):
    """Closed and opened any number of times; nobody sealed."""
    path = old_replica(tmp_path)
    for _ in range(2):
        opened(path, library).close()
    with closing(sqlite3.connect(path)) as db:
        db.executescript("UPDATE num SET v = 'minus' WHERE id = -1; DELETE FROM item;")
    with closing(opened(path, library)) as phone:
        assert phone.seal_now() == 4
        found = captured(phone.db.app, 4, phone.schema)
        assert set(found["num"]) == {"9"}
        assert found["item"]["a"] == (True, False, ("k1", "Beaker", 7), (None, None, None))
        assert found["item"]["c"][1] is False
        assert "z" not in found["item"]
        with transaction(phone.db.sync):
            batch = next_batch(phone.db.sync, phone.schema, phone.db.program)
        assert [sent.number for sent in batch] == [1, 2, 3, 4]
        assert not any(sent.void for sent in batch)


def test_a_key_that_is_no_text_stops_nothing(library, tmp_path):
    path = old_replica(
        tmp_path,
        "INSERT INTO tag VALUES (CAST(x'ff2f' AS TEXT), 'x');"
        "INSERT INTO item VALUES (CAST(x'c3' AS TEXT), CAST(x'ff' AS TEXT), 'n', 1);",
    )
    with closing(opened(path, library)) as phone:
        phone.seal_now()
        voids = phone.rows("SELECT void FROM holdfast_tx ORDER BY number")
        assert voids == [("",)] * 3 + [("bad_value",)] * 2 + [("",)]


def test_an_older_engine_does_not_open_it_any_more(library, tmp_path):
    path = old_replica(tmp_path, f"UPDATE holdfast_state SET format = {PROGRAM_FORMAT + 1}")
    with pytest.raises(ReplicaError) as caught:
        opened(path, library)
    assert caught.value.code == "replica_format"


def test_an_older_engine_that_has_it_open_cannot_apply_news_past_the_log(library, tmp_path):
    path = old_replica(tmp_path)
    with closing(opened(path, library)) as phone:
        with pytest.raises(DatabaseError), transaction(phone.db.sync):
            write_state(phone.db.sync, applying=1)
        phone.seal_now()
        with transaction(phone.db.sync):
            write_state(phone.db.sync, applying=1)
            write_state(phone.db.sync, applying=0)
