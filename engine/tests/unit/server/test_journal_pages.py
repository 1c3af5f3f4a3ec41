"""The journal in pages: what is somebody else's is neither told nor looked at."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core import limits

SHOPS = ("1", "2", "3")


def decided(server: Any, store: str, count: int) -> Any:
    """A device of a store; ``count`` entries of the journal are about its task."""
    one = server.peer(f"d{store}", write=(f"store/{store}", "tasks"))
    other = server.peer(f"e{store}", write=(f"store/{store}", "tasks"))
    one.insert("task", f"t{store}", store_id=store, text="first")
    one.sync()
    other.sync()
    for number in range(count):
        one.update("task", f"t{store}", text=f"one {number}")
        other.update("task", f"t{store}", text=f"other {number}")
        one.sync()
        server.pass_time()
        other.sync()
        one.sync()
        other.sync()
    return one


def page(server: Any, peer: Any, **asked: Any) -> Any:
    options = {"table": "", "key": "", "before": 0, "limit": 100} | asked
    return server.service.journal_page(peer.principal, **options)


def looked_at(server: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each look at the journal brought."""
    snapshot = server.store.read()
    reader = type(snapshot)
    snapshot.close()
    journal = reader.journal
    counts: list[int] = []

    def counted(reads: Any, **asked: Any) -> Any:
        found = journal(reads, **asked)
        counts.append(len(found))
        return found

    monkeypatch.setattr(reader, "journal", counted)
    return counts


def test_pages_lead_to_all_entries_in_order(server: Any) -> None:
    one = decided(server, "1", 7)
    everything = server.service.journal(one.principal)
    assert len(everything) >= 6
    found, before = [], 0
    for _ in range(20):
        part = page(server, one, limit=2, before=before)
        assert len(part.entries) <= 2
        found += part.entries
        before = part.next
        if not before:
            break
    assert found == everything
    assert page(server, one, limit=len(everything)).next == 0


@pytest.mark.parametrize("asked", [{}, {"table": "task"}, {"key": "t2"}, {"table": "product"}])
def test_entries_of_others_are_not_looked_at(
    server: Any, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    one = decided(server, "1", 3)
    decided(server, "2", 5)
    stranger = server.peer("stranger", read=("store/3",))
    counts = looked_at(server, monkeypatch)
    only = server.peer("only", read=("store/1",))
    assert page(server, stranger, **asked).entries == []
    assert page(server, stranger, **asked).next == 0
    assert sum(counts) == 0
    mine = page(server, only, **asked).entries
    assert all(entry.key == "t1" for entry in mine)
    assert sum(counts) == len(mine) <= len(server.service.journal(one.principal))


def test_entries_follow_a_row_into_another_scope(server: Any) -> None:
    both = server.peer("both")
    decided(server, "1", 2)
    both.sync()
    before = {
        (e.table, e.key)
        for e in server.service.journal(server.peer("a", read=("store/1",)).principal)
    }
    assert before == {("task", "t1")}
    both.update("task", "t1", store_id="2")
    both.sync()
    assert server.service.journal(server.peer("a", read=("store/1",)).principal) == []
    found = server.service.journal(server.peer("b", read=("store/2",)).principal)
    assert {(e.table, e.key) for e in found} == {("task", "t1")}
    assert found
    server.sql("UPDATE task SET store_id = '3' WHERE id = 't1'")
    server.service.poll_foreign_writes()
    moved = server.service.journal(server.peer("c", read=("store/3",)).principal)
    assert [e.at for e in moved] == [e.at for e in found]


def test_one_request_looks_at_so_many_pages_and_says_where_to_go_on(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.server.merging import journal as module

    decided(server, "1", 6)
    both = server.peer("both")
    both.sync()
    both.update("task", "t1", store_id="2")
    both.sync()
    assert limits.JOURNAL_SCAN_ENTRIES >= 100
    monkeypatch.setattr(module, "JOURNAL_SCAN_ENTRIES", 2)
    read = module.read_journal
    monkeypatch.setattr(
        "holdfast.server.service.read_journal",
        lambda *given, **asked: read(*given, **asked, pages_max=2),
    )
    reader = server.peer("a", read=("store/1",))
    first = page(server, reader, limit=10)
    assert first.entries == []  # four entries of a row that has moved away
    assert first.next
    assert server.service.journal(reader.principal) == []


def test_what_is_forgotten_leaves_no_trace(server: Any) -> None:
    decided(server, "1", 2)
    server.pass_time(400 * 86400)
    server.service.purge()
    assert server.query("SELECT count(*) FROM holdfast_journal") == [(0,)]
    assert server.query("SELECT count(*) FROM holdfast_journal_scope") == [(0,)]
