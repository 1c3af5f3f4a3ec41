"""The power of these tests: each bug that is planted on purpose is found within a few seeds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from device import Options
from planted import Patch, Plants
from run import run
from test_clocks import skews_change_nothing

from holdfast.core.errors import Offline
from holdfast.core.merging import choosing, counter, merge, policies
from holdfast.core.merging.rows import ServerRow
from holdfast.protocol.messages import Gone
from holdfast.replica.changes import dependence
from holdfast.replica.exchange import exchanger
from holdfast.replica.rebase import apply, replay
from holdfast.replica.storage import members, status
from holdfast.replica.storage.database import transaction
from holdfast.server.direct import direct_writes, ingest, stored_rows
from holdfast.server.exchange import commit, compare, exchange
from holdfast.server.feed import feed, pull
from holdfast.server.feed.feed import Touched
from holdfast.server.merging import batch
from holdfast.server.push import arrivals, decide, push
from holdfast.server.store.sqlite import writer
from holdfast.server.store.sqlite.upkeep import SqliteUpkeep

pytestmark = pytest.mark.slow

PLANTS = Plants("power", seeds_max=20, steps=70)
plant, plant_in = PLANTS.plant, PLANTS.plant_in
ASIDES = Plants("asides", seeds_max=10, steps=30, options=lambda: Options(asides=True))


@plant
def work_is_settled_without_an_outcome(patch: Patch) -> None:
    real = exchanger.Exchanger.exchange

    def exchange(self: Any) -> Any:
        try:
            return real(self)
        except Offline as error:
            if error.code == "timeout":
                self._db.execute("UPDATE holdfast_tx SET state = 'acked' WHERE state = 'sent'")
            raise

    patch.setattr(exchanger.Exchanger, "exchange", exchange)


@plant
def the_checkpoint_moves_before_its_rows(patch: Patch) -> None:
    real = exchanger.Exchanger._store
    calls = iter(range(1_000_000))

    def store(self: Any, answer: Any, *more: Any) -> Any:
        if next(calls) % 9 == 8:
            with transaction(self._db):
                for scope, at in answer.checkpoint.scopes.items():
                    self._db.execute(
                        "UPDATE holdfast_scope SET version = ?, seal = ?, server_count = ?, "
                        "server_digest = ? WHERE scope = ?",
                        (at.version, at.seal, at.count, at.digest, scope),
                    )
            raise Offline("the process ended here", code="timeout")
        return real(self, answer, *more)

    patch.setattr(exchanger.Exchanger, "_store", store)


@plant
def a_repeated_request_is_done_again(patch: Patch) -> None:
    real = arrivals.arrivals

    def again(reads: Any, replica: Any, transactions: Any) -> Any:
        return dataclasses.replace(real(reads, replica, ()), new=transactions)

    def record(self: Any, replica: str, entries: Any, *, copied: bool) -> None:
        for entry in entries:
            self._db.execute(
                "DELETE FROM holdfast_applied WHERE replica = ? AND number = ?",
                (replica, entry.number),
            )
        real_record(self, replica, entries, copied=copied)

    real_record = writer.SqliteWriter.record
    patch.setattr(commit, "arrivals", again)
    patch.setattr(writer.SqliteWriter, "record", record)


@plant_in(43)
def a_counter_counts_twice(patch: Patch) -> None:
    real = policies.POLICIES["counter"]

    def decide(cell: Any, change: Any, author: Any, *, settled: bool) -> Any:
        name = cell.column.name
        twice = change.new[name] * (2 if author.number == 5 else 1)
        change = msgspec.structs.replace(change, new={**change.new, name: twice})
        return counter.decide(cell, change, author, settled=settled)

    patch.setitem(policies.POLICIES, "counter", real._replace(decide=decide, follow=None))


@plant
def a_scope_is_missed_on_delete(patch: Patch) -> None:
    real = feed.publish

    def publish(writer: Any, touched: Iterable[Touched], random_bytes: Any, **more: Any) -> Any:
        items = [
            Touched(item.table, item.key, item.before[:1], item.after, item.row)
            if item.row is None
            else item
            for item in touched
        ]
        return real(writer, items, random_bytes, **more)

    for module in (push, direct_writes, stored_rows):
        patch.setattr(module, "publish", publish)


@plant
def rows_do_not_fall_back_after_a_refusal(patch: Patch) -> None:
    patch.setattr(apply.Applier, "_fall_back", lambda self, decided: None)


@plant
def the_feed_skips_removals(patch: Patch) -> None:
    real = writer.SqliteWriter.put_feed

    def put_feed(self: Any, entries: Any) -> None:
        real(self, [entry for entry in entries if not entry.removed])
        self._db.executemany(
            "DELETE FROM holdfast_feed WHERE scope = ? AND tbl = ? AND key = ?",
            [(entry.scope, entry.table, entry.key) for entry in entries if entry.removed],
        )

    patch.setattr(writer.SqliteWriter, "put_feed", put_feed)


@plant
def a_refused_transaction_leaves_a_trace(patch: Patch) -> None:
    patch.setattr(batch.Batch, "undo", batch.Batch.keep)


@plant_in(2)
def what_builds_on_a_refused_transaction_goes_in(patch: Patch) -> None:
    real = decide.DecisionRun._decide

    def alone(self: Any, transaction: Any, changes: Any) -> Any:
        self._stopped.clear()
        return real(self, transaction, changes)

    patch.setattr(decide.DecisionRun, "_decide", alone)


@plant_in(7)
def the_loser_is_not_on_record(patch: Patch) -> None:
    patch.setattr(choosing, "_dropped", lambda *_: None)


@plant_in(9)
def an_edit_lost_to_a_delete_is_not_on_record(patch: Patch) -> None:
    real = merge._delete

    def delete(row: ServerRow, change: Any, author: Any, settled: Any) -> Any:
        return msgspec.structs.replace(real(row, change, author, settled), decisions=())

    def again(row: ServerRow, change: Any, author: Any, settled: Any) -> Any:
        return msgspec.structs.replace(real_edit(row, change, author, settled), decisions=())

    real_edit = merge._edit_deleted
    patch.setattr(merge, "_delete", delete)
    patch.setattr(merge, "_edit_deleted", again)


@plant
def all_scopes_are_read(patch: Patch) -> None:
    for module in (exchange, compare):
        patch.setattr(
            module, "readable", lambda reads, _principal: reads.scopes(reads.scope_names())
        )


@plant_in(4)
def conflicts_do_not_follow_their_rows(patch: Patch) -> None:
    patch.setattr(decide, "follow", lambda *_, **__: ())
    patch.setattr(ingest, "follow", lambda *_, **__: ())


@plant
def lost_scopes_stay(patch: Patch) -> None:
    real = members.Members.lose

    def lose(self: Any, scope: str) -> list[Any]:
        real(self, scope)
        return []

    patch.setattr(members.Members, "lose", lose)


@plant_in(5)
def an_edit_of_pending_work_claims_to_have_seen_the_news(patch: Patch) -> None:
    real = dependence.on_own_row

    def forgetful(*where: Any, without: Any, bases: Any) -> Any:
        return real(*where, without=without, bases=[])

    patch.setattr(dependence, "on_own_row", forgetful)


@plant
def moved_rows_are_sent_as_gone(patch: Patch) -> None:
    def gone(self: Any, name: str, keys: Any) -> Any:
        yield Gone(name, list(keys))

    patch.setattr(pull._Puller, "_gone", gone)


@plant
def direct_deletes_are_not_taken_in(patch: Patch) -> None:
    real = ingest._take

    def take(batch: Any, table: Any, notes: Any, now_us: int) -> None:
        there = batch.writer.existing(table, [note.key for note in notes])
        real(batch, table, [note for note in notes if note.key in there], now_us)

    patch.setattr(ingest, "_take", take)


@plant_in(2)
def retried_work_keeps_its_refused_twin(patch: Patch) -> None:
    from holdfast.replica.inbox.inbox import Inbox

    patch.setattr(Inbox, "forget", lambda self, number: self._db.execute(
        "DELETE FROM holdfast_tx WHERE number = ?", (number + 1,)))  # fmt: skip


@plant
def a_device_below_the_floor_is_not_told(patch: Patch) -> None:
    for module in (exchange, compare):
        patch.setattr(module, "below_floor", lambda *_: frozenset())


@plant
def removals_are_forgotten_but_the_floor_stays(patch: Patch) -> None:
    real = SqliteUpkeep.raise_floor

    def raise_floor(self: Any, scope: str, version: int) -> None:
        self._db.execute(
            "DELETE FROM holdfast_feed WHERE scope = ? AND removed = 1 AND version <= ?",
            (scope, version),
        )
        real(self, scope, 0)

    patch.setattr(SqliteUpkeep, "raise_floor", raise_floor)


@plant_in(16)
def a_comparison_does_not_tell_what_became_of_what_was_sent(patch: Patch) -> None:
    """After an answer that was lost, its rows have the work in them that the device still shows on
    top of them."""
    patch.setattr(compare, "recorded_outcomes", lambda *_: [])


# What readers must never see


@plant_in(31)
def half_a_transaction_is_set_aside(patch: Patch) -> None:
    real = replay.Replay._of
    patch.setattr(replay.Replay, "_of", lambda self, number: real(self, number)[:1])


@plant
def status_misses_what_is_not_sealed(patch: Patch) -> None:
    patch.setattr(status, "open_groups", lambda _: 0)


@plant
def own_work_that_was_taken_flickers(patch: Patch) -> None:
    """Rows that are as this device has made them are not shown until somebody changes them."""
    real = apply.Applier._own

    def own(self: Any, table: Any, line: Any, decided: Any) -> None:
        real(self, table, line, decided)
        if table.name == "slip":
            for key in line.keys:
                self._db.execute("DELETE FROM slip WHERE id = ?", (key,))

    patch.setattr(apply.Applier, "_own", own)


@ASIDES.plant_in(3)
def a_deleted_parent_leaves_the_child_that_has_come(patch: Patch) -> None:
    patch.setattr(replay.Replay, "_orphan", lambda _: None)


@ASIDES.plant_in(1)
def what_a_device_writes_over_unseen_is_not_on_record(patch: Patch) -> None:
    """Its own, that is: it was set aside then, and has gone through after all."""
    patch.setattr(choosing, "_unseen_by_itself", lambda *_: False)


@pytest.mark.parametrize("name", ASIDES.bugs)
def test_a_planted_bug_of_what_is_set_aside_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ASIDES.find(name, monkeypatch)


def test_what_is_set_aside_harms_nobody() -> None:
    """The same worlds without the bugs."""
    happened = Counter[str]()
    for number in (3, 5):
        happened += run(f"asides/{number}", steps=30, options=Options(asides=True))
    assert happened["bereaved"] and happened["set aside at replay: foreign_key"]
    assert happened["written over what is aside"] and happened["set aside at replay: unique"]


@pytest.mark.parametrize("name", PLANTS.bugs)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS.find(name, monkeypatch)


def test_a_clock_that_is_not_corrected_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(stamp_us: int, *, offset_us: int, arrival_us: int, base_us: int | None) -> int:
        return stamp_us

    monkeypatch.setattr(decide, "correct", trusting)
    for seed in range(PLANTS.seeds_max):
        try:
            skews_change_nothing(seed)
        except AssertionError:
            return
    pytest.fail("not found")
