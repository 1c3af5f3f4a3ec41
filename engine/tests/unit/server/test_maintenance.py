"""What a server does by itself: when it is due, by one process, in bites that hold up nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest

from holdfast.core.errors import DatabaseError
from holdfast.schema.model import Column, Schema
from holdfast.server.direct import growing, stored_rows
from holdfast.server.maintenance.jobs import Job, Maintenance, Proceed
from holdfast.server.process.observe import JobRan, ObservedEvent
from holdfast.testing import wait_until


def maintenance(
    server: Any,
    run: Callable[[Proceed], object],
    seen: list[ObservedEvent] | None = None,
    **options: Any,
) -> tuple[Maintenance, Job]:
    job = Job(name="job", every_ms=60_000, run=run)
    made = Maintenance(
        server.store, poll=lambda: None, jobs=[job], now_us=server.tick,
        observer=(seen if seen is not None else []).append, **options,
    )  # fmt: skip
    return made, job


def test_a_job_is_done_when_it_is_due_whoever_did_it_last(server: Any) -> None:
    done: list[str] = []
    seen: list[ObservedEvent] = []
    one, job = maintenance(server, lambda _: done.append("one"), seen)
    other, same = maintenance(server, lambda _: done.append("other"))
    assert one.run_if_due(job)
    assert not one.run_if_due(job) and not other.run_if_due(same)
    server.pass_time(61)
    assert other.run_if_due(same)
    assert done == ["one", "other"]
    (event,) = seen
    assert isinstance(event, JobRan) and (event.job, event.ok) == ("job", True)
    server.now -= 3600 * 1_000_000  # a clock that was wrong does not put it off
    assert one.run_if_due(job)


def test_one_process_at_a_time(make_server: Any, server: Any) -> None:
    if not server.postgres:
        pytest.skip("one process serves a file")
    second = make_server(server.path)
    inside, go = threading.Event(), threading.Event()

    def slow(_proceed: Proceed) -> None:
        inside.set()
        assert go.wait(30)

    one, job = maintenance(server, slow)
    other, same = maintenance(second, lambda _: pytest.fail("done twice"))
    thread = threading.Thread(target=one.run_if_due, args=(job,))
    thread.start()
    assert inside.wait(30)
    assert not other.run_if_due(same)
    go.set()
    thread.join()


def test_what_fails_is_told_and_ends_nothing(server: Any) -> None:
    tried: list[int] = []
    seen: list[ObservedEvent] = []

    def fails(_proceed: Proceed) -> None:
        tried.append(1)
        raise DatabaseError("no") if len(tried) % 2 else ValueError("no")

    made, _ = maintenance(server, fails, seen, look_ms=1)
    made.start()

    def often() -> bool:
        server.pass_time(61)
        return len(seen) >= 3

    wait_until(often, what="three attempts")
    made.close()
    assert not any(event.ok for event in seen if isinstance(event, JobRan))


def test_a_job_that_is_told_to_stop_is_not_counted_as_done(server: Any) -> None:
    inside = threading.Event()

    def long(proceed: Proceed) -> None:
        inside.set()
        while proceed():
            pass

    made, _ = maintenance(server, long, look_ms=1)
    made.start()
    assert inside.wait(30)
    made.close()
    assert server.store.transact(lambda w: w.upkeep.last_run("job")) == 0


def test_a_sound_database_is_checked_without_a_lock(server: Any, monkeypatch: Any) -> None:
    """In pages, while a scope is locked by somebody else; what differs is found and told."""
    monkeypatch.setattr("holdfast.server.direct.deep_check.CHECK_BITE_ROWS", 3)
    peer = server.peer()
    peer.commit(*(peer.change("insert", "product", f"p{n}", {"sku": f"s{n}"}) for n in range(10)))
    peer.insert("movement", 12, store_id="1", product_id="p1")
    peer.insert("movement", 2, store_id="1", product_id="p1")
    peer.insert("shelf", ("1", b"\x00/"), label="x")
    peer.sync()
    if server.postgres:
        with psycopg.connect(server.path) as other:
            other.execute("SELECT FROM holdfast_scope FOR UPDATE")
            assert server.service.deep_check() == 0
    asked: list[int] = []

    def proceed() -> bool:
        asked.append(1)
        return True

    assert server.service.deep_check(proceed=proceed) == 0
    assert len(asked) >= 4 + 1 + 1 + 4
    server.sql_unseen("UPDATE product SET name = 'odd' WHERE id IN ('p3', 'p9')")
    server.sql_unseen("DELETE FROM movement WHERE id = 12")
    server.sql_unseen("UPDATE movement SET store_id = '2' WHERE id = 2")
    assert server.service.deep_check(proceed=lambda: False) == 0
    assert server.service.deep_check() == 4
    assert server.service.deep_check() == 0
    peer.sync()
    assert peer.row("product", "p9")["name"] == "odd"
    assert peer.row("movement", 12) is None and peer.row("movement", 2)["store_id"] == "2"
    server.check()


def test_a_grown_schema_is_hashed_in_pages_and_goes_on_where_it_ended(
    server: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("holdfast.server.direct.growing.CHECK_BITE_ROWS", 3)
    peer = server.peer()
    peer.commit(*(peer.change("insert", "product", f"p{n}", {"sku": f"s{n}"}) for n in range(8)))
    peer.sync()
    first = server.schema.tables[0]
    first, *rest = server.schema.tables
    first = msgspec.structs.replace(
        first, columns=(*first.columns, Column("colour", default="red"))
    )
    wider = Schema(name=server.schema.name, tables=(first, *rest), generation=2)
    pages = iter(range(100))
    rehash = growing.rehash

    def breaks(*arguments: Any) -> Any:
        if next(pages) == 1:
            raise DatabaseError("the process ended here")
        return rehash(*arguments)

    monkeypatch.setattr(stored_rows, "rehash", breaks)
    with pytest.raises(DatabaseError):
        server.reopen(wider)
    server.store.close()
    server.open()
    assert server.store.stale_tables == ()
    fresh = server.peer("fresh")
    fresh.sync()
    assert {row[-1] for _, row in fresh.rows.values()} == {"red"}
    server.check()


def test_the_same_trouble_is_said_once(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    polls: list[str] = []
    seen = threading.Event()

    def poll() -> None:
        polls.append("poll")
        if len(polls) == 4:
            return  # well again for a moment
        if len(polls) > 6:
            seen.set()
        raise DatabaseError("the shelf is on fire", code="database")

    made = Maintenance(server.store, poll=poll, jobs=[], now_us=server.tick)
    made.start()
    assert seen.wait(30)
    made.close()
    said = [r for r in caplog.records if "the shelf is on fire" in r.getMessage()]
    assert len(said) == 2
