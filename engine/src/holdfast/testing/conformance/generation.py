"""Conformance of what a store keeps for older generations of a schema; part of that for stores.

Knows: the contract in ``server.store.contract``. Must not know: which database is behind it.

Checks I12, I17.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from holdfast.core.digest import Digest
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.store.contract import FeedEntry, ReplicaRecord, Scope, Store, Writer

NOTE = Table(name="note", key=("id",), columns=(Column("id"),), scopes=("all",))
FIRST = Schema(name="grows", tables=(NOTE,))
SECOND = Schema(
    name="grows",
    generation=2,
    tables=(Table(name="note", key=("id",), columns=(Column("id"), Column("more", default="")),
                  scopes=("all",)),),
)  # fmt: skip
THIRD = Schema(name="grows", generation=3, tables=(*SECOND.tables,))
HASH, OTHER = b"h" * 16, b"o" * 16


class GenerationConformance:
    """Tests of a store with older generations; ``StoreConformance`` has them."""

    def test_growth_keeps_digests_and_positions(self, opened: Callable[[Schema], Store]) -> None:
        with closing(opened(FIRST)) as store:
            assert list(store.older) == [] and not store.has_grown
            store.transact(lambda w: w.put_scopes([_scope(0, 0)]))
            store.transact(lambda w: _put(w, [FeedEntry("all", "note", "a", 1, HASH, False)], 1))
            store.transact(lambda w: _put(w, [FeedEntry("all", "note", "b", 2, HASH, False)], 2))
        for schema in (SECOND, THIRD):
            with closing(opened(schema)) as store:
                older = [one.generation for one in store.older]
                assert older == list(range(1, schema.generation))
                digests = dict.fromkeys(range(1, schema.generation + 1), _digest(2))
                with closing(store.read()) as snapshot:
                    scope = snapshot.scopes(["all"])["all"]
                    assert scope.older == {number: _digest(2) for number in older}
                    assert snapshot.digests({"all": 2}) == {"all": digests}
                    assert snapshot.digests({"all": 1}) == {"all": {1: _digest(1)}}
                    assert snapshot.positions({"all": 1}) == {}
                    assert snapshot.positions({"all": 2}) == {"all": _digest(2)}

    def test_it_keeps_what_older_generations_see(self, opened: Callable[[Schema], Store]) -> None:
        older = {1: _digest(1), 2: _digest(0)}
        entries = [
            FeedEntry("all", "note", "a", 1, HASH, False, 1, {1: OTHER, 2: b""}, 2),
            FeedEntry("all", "note", "b", 1, HASH, removed=False),
            FeedEntry("all", "note", "c", 1, HASH, removed=False, deviates=1),
        ]
        for schema in (FIRST, SECOND):
            opened(schema).close()
        with closing(opened(THIRD)) as store:
            store.transact(lambda w: w.put_scopes([_scope(0, 0)]))
            head = replace(_scope(1, 3), older=older)

            def publish(writer: Writer) -> None:
                writer.scopes(["all"])
                writer.put_feed(entries)
                writer.put_scopes([head])

            store.transact(publish)
            with closing(store.read()) as snapshot:
                assert snapshot.scopes(["all"])["all"].older == older
                assert snapshot.digests({"all": 1}) == {"all": {**older, 3: head.digest}}
                lacking = [sorted(snapshot.lacking("all", 1, n)) for n in (1, 2)]
                assert lacking == [[("note", "a"), ("note", "c")], [("note", "a")]]
                assert list(snapshot.lacking("all", 0, 1)) == []
                noted = [hashes for *_, hashes in snapshot.noted_live("all", ("", ""), None)]
                assert noted == [{1: OTHER, 2: b""}, {}, {}]
                assert snapshot.weighed("all", SECOND.tables[0], ["a"])["a"].older == noted[0]
            restated = replace(head, digest=_digest(2), older={1: _digest(1)})

            def restate(writer: Writer) -> None:
                writer.scopes(["all"])
                writer.restate_scopes([restated])

            store.transact(restate)
            with closing(store.read()) as snapshot:
                assert snapshot.scopes(["all"])["all"] == restated
                assert snapshot.positions({"all": 1}) == {"all": restated.digest}
                seen = {1: _digest(1), 2: older[2], 3: restated.digest}
                assert snapshot.digests({"all": 1}) == {"all": seen}

    def test_a_dropped_generation_leaves_nothing(self, opened: Callable[[Schema], Store]) -> None:
        for schema in (FIRST, SECOND):
            opened(schema).close()
        with closing(opened(THIRD)) as store:
            store.transact(lambda w: w.put_scopes([_scope(0, 0)]))
            heard = ReplicaRecord("d", "d", "u", last_seen=9, generation=2)
            store.transact(lambda w: w.put_replica(heard))
            head = replace(_scope(1, 1), older={1: _digest(1), 2: _digest(0)})
            entry = FeedEntry("all", "note", "a", 1, HASH, False, 1, {1: OTHER, 2: b""}, 1)

            def publish(writer: Writer) -> None:
                writer.scopes(["all"])
                writer.put_feed([entry])
                writer.put_scopes([head])

            store.transact(publish)
            assert store.transact(lambda w: w.upkeep.drop_generations(3, 5)) == 0
            store.transact(lambda w: w.upkeep.cease(3, 4))
            assert store.transact(lambda w: w.upkeep.drop_generations(3, 4)) == 0
            assert store.transact(lambda w: w.upkeep.drop_generations(3, 5)) == 1
            assert store.transact(lambda w: w.upkeep.dropped()) == [1]
            assert [one.generation for one in store.older] == [1, 2]
            assert [one.generation for one in store.renew_older()] == [2]
            assert [one.generation for one in store.older] == [2]
            assert store.transact(lambda w: w.upkeep.forget_digests(1, 5)) == 1
            assert store.transact(lambda w: w.upkeep.forget_digests(1, 5)) == 0
            at = store.transact(lambda w: w.upkeep.forget_hashes(1, 2, ("", "", ""), 1))
            assert at == ("all", "note", "a")
            assert store.transact(lambda w: w.upkeep.forget_hashes(1, 2, at, 1)) is None
            store.transact(lambda w: w.upkeep.forgotten(1))
            assert store.transact(lambda w: w.upkeep.dropped()) == []
            with closing(store.read()) as snapshot:
                assert snapshot.scopes(["all"])["all"].older == {2: _digest(0)}
                found = snapshot.weighed("all", SECOND.tables[0], ["a"])["a"]
                assert (found.older, found.deviates) == ({2: b""}, 0)
                positions = snapshot.digests({"all": 1})["all"]
                assert positions == {1: _digest(1), 2: _digest(0), 3: _digest(1)}
        with closing(opened(THIRD)) as store:
            assert [one.generation for one in store.older] == [2] and store.has_grown


def _digest(count: int) -> Digest:
    return Digest.of(count, f"{count:032x}")


def _scope(head: int, count: int) -> Scope:
    return Scope("all", head, _digest(count), b"k" * 32)


def _put(writer: Writer, entries: list[FeedEntry], count: int) -> None:
    writer.scopes(["all"])
    writer.put_feed(entries)
    writer.put_scopes([_scope(count, count)])
