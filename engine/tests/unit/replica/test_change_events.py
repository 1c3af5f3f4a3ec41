"""An app is told what has changed, by whom, after it was committed; live queries and callbacks."""

from __future__ import annotations

import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest

from holdfast import ChangeEvent, Column, Replica, Schema, Table
from holdfast.core.errors import DatabaseError, UsageError
from holdfast.core.values import Row, Value
from holdfast.replica.events.callbacks import call_with_news
from holdfast.replica.events.subscriptions import LiveQuery
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.storage.status import Status
from holdfast.server import Principal, RuleContext, Server, open_server
from holdfast.testing import wait_until

SCHEMA = Schema(
    name="news",
    tables=(
        Table(
            name="note",
            key=("id",),
            scopes=("all",),
            columns=(
                Column("id"),
                Column("body", default=""),
                Column("price", merge="manual", default=""),
            ),
        ),
        Table(
            name="pair",
            key=("a", "b"),
            scopes=("all",),
            columns=(Column("a"), Column("b", "integer")),
        ),
    ),
)
FOREIGN = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
)


def no_bad_words(transaction: RuleContext) -> None:
    for change in transaction.changes:
        if change.table == "note" and change.new and change.new["body"] == "bad":
            transaction.refuse("bad", "Not here.")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    opened = open_server(
        SCHEMA, tmp_path / "s.db", lambda _: None, rules=[no_bad_words], maintain=False
    )
    yield opened
    opened.close()


Make = Callable[[str], Replica]


@pytest.fixture(params=["apsw", "stdlib"])
def make(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[Make]:
    library: Literal["apsw", "stdlib"] = request.param
    made: list[Replica] = []

    def opened(name: str) -> Replica:
        transport = MemoryTransport(server.service, Principal(name, name, write=("all",)))
        made.append(
            Replica.open(
                tmp_path / f"{name}.db", SCHEMA, transport=transport, synchronous="OFF",
                driver_name=library,
            )
        )  # fmt: skip
        return made[-1]

    yield opened
    for replica in made:
        replica.close()


def do(replica: Replica, *statements: str) -> None:
    with replica.transaction() as db:
        for sql in statements:
            db.execute(sql)


def foreign(replica: Replica, sql: str) -> None:
    subprocess.run([sys.executable, "-c", FOREIGN, replica.path, sql], check=True, timeout=60)


def test_a_transaction_is_told_once_it_is_committed(make: Make) -> None:
    replica = make("a")
    with replica.changes() as changes:
        with replica.transaction() as db:
            db.execute("INSERT INTO note (id) VALUES ('1'), ('2')")
            db.execute("INSERT INTO pair VALUES ('x/y', 3)")
            assert changes.take() == []
        assert changes.take() == [
            ChangeEvent(table="note", kind="insert", origin="local", keys=("1", "2")),
            ChangeEvent(table="pair", kind="insert", origin="local", keys=("x%2Fy/3",)),
        ]
        do(replica, "UPDATE note SET body = 'b' WHERE id = '1'", "DELETE FROM note WHERE id = '2'")
        assert [(next(changes).kind, next(changes).kind)] == [("update", "delete")]


def test_what_is_undone_or_changes_nothing_is_not_told(make: Make) -> None:
    replica = make("a")
    do(replica, "INSERT INTO note (id) VALUES ('1')")
    with replica.changes() as changes:
        with pytest.raises(DatabaseError):
            do(replica, "DELETE FROM note", "no statement")
        do(replica, "UPDATE note SET body = ''")
        do(replica, "INSERT INTO note (id) VALUES ('2')", "DELETE FROM note WHERE id = '2'")
        assert changes.take() == []
        do(replica, "DELETE FROM note")
        assert changes.take() == [
            ChangeEvent(table="note", kind="delete", origin="local", keys=("1",))
        ]


def test_what_was_not_read_yet_becomes_one(make: Make) -> None:
    replica = make("a")
    with replica.changes("note") as changes:
        do(replica, "INSERT INTO note (id) VALUES ('1')")
        do(replica, "UPDATE note SET body = 'x'", "INSERT INTO pair VALUES ('a', 1)")
        assert changes.take() == [
            ChangeEvent(table="note", kind="insert", origin="local", keys=("1",))
        ]


def test_what_came_from_the_server_is_remote_and_what_was_sent_is_not_told_again(
    make: Make,
) -> None:
    one, two = make("one"), make("two")
    one.sync()
    two.sync()
    with one.changes() as mine, two.changes() as theirs:
        do(one, "INSERT INTO note (id) VALUES ('1')")
        one.sync()
        two.sync()
        assert [change.origin for change in mine.take()] == ["local"]
        assert theirs.take() == [
            ChangeEvent(table="note", kind="insert", origin="remote", keys=("1",))
        ]


def test_what_another_process_writes_is_noticed(make: Make) -> None:
    replica = make("a")
    with replica.changes("note") as changes:
        foreign(replica, "INSERT INTO note (id) VALUES ('1')")
        assert next(changes) == ChangeEvent(table="note", kind="unknown", origin="elsewhere")
        do(replica, "INSERT INTO note (id) VALUES ('2')")
        assert changes.take() == [
            ChangeEvent(table="note", kind="insert", origin="local", keys=("2",))
        ]
        changes._all.look()
        assert changes.take() == [], "one's own commit is nobody else's"


def test_many_rows_are_told_as_a_table(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.replica.events import change, recording

    replica = make("a")
    with replica.changes() as changes:
        for module in (change, recording):
            monkeypatch.setattr(module, "CHANGED_KEYS_MAX", 2)
            do(replica, "INSERT INTO note (id) VALUES (1), (2), (3)", "DELETE FROM note")
            do(replica, "INSERT INTO note (id) VALUES (1), (2), (3)")
            assert changes.take() == [ChangeEvent(table="note", kind="unknown", origin="local")]
            do(replica, "DELETE FROM note")
            changes.take()


def test_a_wait_ends_when_the_subscription_or_the_replica_does(make: Make) -> None:
    replica = make("a")
    first, second, rows = replica.changes(), replica.changes(), replica.watch("SELECT 1")
    ended: queue.Queue[int] = queue.Queue()

    def read(place: int, news: Iterator[object]) -> None:
        for _ in news:
            pass
        ended.put(place)

    threads = [
        threading.Thread(target=read, args=(place, news))
        for place, news in enumerate((first, second, rows))
    ]
    for thread in threads:
        thread.start()
    first.close()
    assert ended.get(timeout=60) == 0
    replica.close()
    assert {ended.get(timeout=60), ended.get(timeout=60)} == {1, 2}
    for thread in threads:
        thread.join(60)
    with pytest.raises(UsageError):
        replica.changes()


def test_recording_ends_with_the_last_subscriber(make: Make) -> None:
    replica = make("a")
    triggers = "SELECT count(*) FROM sqlite_temp_schema"
    replica.changes().close()
    do(replica, "INSERT INTO note (id) VALUES ('1')")
    assert replica.query(triggers) == [(0,)]
    with replica.changes() as changes:
        do(replica, "INSERT INTO note (id) VALUES ('2')")
        assert replica.query(triggers) != [(0,)]
        assert [one.keys for one in changes.take()] == [("2",)]
    do(replica, "INSERT INTO note (id) VALUES ('3')")
    assert replica.query(triggers) == [(0,)]


def test_a_table_that_is_none_is_refused(make: Make) -> None:
    with pytest.raises(UsageError, match=r"no table 'nots' \[no_table\]"):
        make("a").changes("nots")


def test_a_watched_query_tells_its_rows_when_they_are_others(make: Make) -> None:
    replica = make("a")
    with replica.watch("SELECT id FROM note WHERE id > ? ORDER BY id", ["1"]) as rows:
        assert next(rows) == []
        do(replica, "INSERT INTO note (id) VALUES ('1')")
        do(replica, "INSERT INTO pair VALUES ('1', 1)")
        do(replica, "INSERT INTO note (id) VALUES ('2')")
        assert next(rows) == [("2",)]
        foreign(replica, "INSERT INTO note (id) VALUES ('3')")
        assert next(rows) == [("2",), ("3",)]


def test_a_watched_query_runs_only_for_the_tables_that_it_reads(make: Make) -> None:
    replica = make("a")
    tables_of = replica._events.tables_of
    assert tables_of("SELECT count(*) FROM note WHERE id = 'a'", ()) == {"note"}
    assert tables_of("SELECT 1 FROM note, pair WHERE pair.a = note.id", ()) == {"note", "pair"}
    assert tables_of("SELECT state FROM holdfast_tx", ()) == frozenset()
    ran: list[str] = []

    def query(sql: str, params: Sequence[Value]) -> list[Row]:
        ran.append(sql)
        return replica.query(sql, params)

    watch = LiveQuery(replica._events, query, "SELECT a FROM pair", ())
    assert next(watch) == []
    do(replica, "INSERT INTO note (id) VALUES ('1')")
    do(replica, "INSERT INTO pair VALUES ('1', 1)")
    assert next(watch) == [("1",)]
    assert len(ran) == 2


def test_the_engines_own_tables_can_be_watched(make: Make) -> None:
    replica = make("a")
    with replica.watch("SELECT count(*) FROM holdfast_tx WHERE state <> 'acked'") as rows:
        assert next(rows) == [(0,)]
        do(replica, "INSERT INTO note (id) VALUES ('1')")
        replica.seal()
        assert next(rows) == [(1,)]


def test_a_watched_query_must_not_write(make: Make) -> None:
    with pytest.raises(UsageError, match=r"only read \[not_a_query\]"):
        make("a").watch("DELETE FROM note")


def test_conflicts_and_refusals_call_back(make: Make) -> None:
    one, two = make("one"), make("two")
    do(one, "INSERT INTO note (id, price) VALUES ('1', '5')")
    one.sync()
    two.sync()
    told: queue.Queue[object] = queue.Queue()
    two.on_conflict(lambda conflict: told.put(conflict.column))
    end = two.on_refused(lambda refused: told.put(refused.code))
    do(one, "UPDATE note SET price = '6'")
    do(two, "UPDATE note SET price = '7'")
    one.sync()
    two.sync()
    assert told.get(timeout=60) == "price"
    do(two, "INSERT INTO note (id, body) VALUES ('2', 'bad')")
    two.sync()
    assert told.get(timeout=60) == "rule:bad"
    end()
    do(two, "INSERT INTO note (id, body) VALUES ('3', 'bad')")
    two.sync()
    two.on_refused(lambda refused: told.put(refused.code))
    do(two, "INSERT INTO note (id, body) VALUES ('4', 'bad')")
    two.sync()
    assert told.get(timeout=60) == "rule:bad"
    two.close()
    assert told.empty()


def test_the_status_calls_back_at_once_and_when_it_is_another(make: Make) -> None:
    replica = make("a")
    pending: queue.Queue[int] = queue.Queue()
    replica.on_status(lambda status: pending.put(status.pending))
    assert pending.get(timeout=60) == 0
    do(replica, "INSERT INTO note (id) VALUES ('1')")
    assert pending.get(timeout=60) == 1
    replica.start()
    wait_until(lambda: pending.get(timeout=60) == 0)
    states: queue.Queue[str] = queue.Queue()
    replica.on_status(lambda status: states.put(status.state))
    wait_until(lambda: states.get(timeout=60) == "online")
    replica.stop()


def test_a_callback_that_raises_is_called_again(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    replica = make("a")
    pending: queue.Queue[int] = queue.Queue()

    def broken(status: Status) -> None:
        pending.put(status.pending)
        raise SystemExit

    replica.on_status(broken)
    assert pending.get(timeout=60) == 0
    do(replica, "INSERT INTO note (id) VALUES ('1')")
    assert pending.get(timeout=60) == 1
    assert "a status callback failed" in caplog.text


def test_news_that_cannot_be_read_now_are_told_later(make: Make) -> None:
    replica = make("a")
    failures = [DatabaseError("the database is locked"), DatabaseError("the database is locked")]

    def news() -> list[int]:
        if failures:
            raise failures.pop()
        return [1]

    told: queue.Queue[int] = queue.Queue()
    woken_by = replica._events.subscribe(every=True)
    end = call_with_news("a callback", news, told.put, woken_by)
    woken_by.touch()
    assert told.get(timeout=60) == 1
    end()


def test_a_begin_that_fails_leaves_no_transaction_open(make: Make) -> None:
    replica = make("a")
    with replica.changes():
        do(replica, "INSERT INTO note (id) VALUES ('1')")
        raw = replica._database.app
        raw.execute("DROP TABLE temp.holdfast_touched")
        with pytest.raises(DatabaseError):
            do(replica, "INSERT INTO note (id) VALUES ('2')")
        assert not raw.in_transaction


def test_a_connection_of_the_same_process_is_elsewhere(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    replica = Replica.open(path, SCHEMA, driver_name="stdlib", synchronous="OFF")
    with replica, replica.changes("note") as changes:
        other = sqlite3.connect(path)
        with other:
            other.execute("INSERT INTO note (id) VALUES ('1')")
        other.close()
        assert next(changes) == ChangeEvent(table="note", kind="unknown", origin="elsewhere")
