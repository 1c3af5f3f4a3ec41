"""Tests of what every store knows of replicas: records, transactions and origins.

Knows: the store's contract. Must not know: which store it is.
"""

from __future__ import annotations

from contextlib import closing

from holdfast.server.store.contract import Recorded, ReplicaRecord, Store, Writer


class ReplicaConformance:
    """Checks of a store, given by the fixture ``store``."""

    def test_replicas_and_their_transactions(self, store: Store) -> None:
        replica = ReplicaRecord("d", "d", "u", "n", 3, 2, 5, -7)
        decided = [
            Recorded(1, b"i" * 16, b"b", "applied", answer=b"a"),
            Recorded(2, b"j" * 16, b"", "refused", answer=b""),
        ]

        def work(writer: Writer) -> None:
            assert writer.replica("d") is None
            writer.put_replica(ReplicaRecord("d", "d", "u"))
            writer.put_replica(replica)
            writer.record("d", decided)
            writer.record("d", [])

        store.transact(work)

        with closing(store.read()) as snapshot:
            assert snapshot.replica("d") == replica
            assert snapshot.replica("e") is None
            assert snapshot.recorded("d", [1, 2, 3]) == {1: decided[0], 2: decided[1]}
            assert snapshot.recorded("e", [1, 2, 3]) == snapshot.recorded("d", []) == {}

        def again(writer: Writer) -> None:
            assert writer.replica("d") == replica
            assert writer.recorded("d", [1, 2, 3]) == {1: decided[0], 2: decided[1]}
            writer.forget_answers("d", 1)
            writer.settle("d", 2)
            found = writer.recorded("d", [1, 2])
            assert (found[1].answer, found[2].answer, found[2].settled) == (None, b"", True)

        store.transact(again)

    def test_a_replica_has_come_out_of_others(self, store: Store) -> None:
        """Those of its device or user, without a gap, and no more than are asked for."""
        a = ReplicaRecord("a", "d", "u", place=1)
        b = ReplicaRecord("b", "d", "u", place=2, origin="a", origin_last=4, shared=3)
        c = ReplicaRecord("c", "e", "u", place=1, origin="b", origin_last=9)
        d = ReplicaRecord("d", "e", "v", place=2, origin="c", last_seen=7)
        stranger = ReplicaRecord("s", "x", "w", origin="a")
        lost = ReplicaRecord("l", "x", "w", place=2, origin="nobody")

        def work(writer: Writer) -> None:
            for replica in (a, b, c, d, stranger, lost):
                writer.put_replica(replica)

        store.transact(work)
        with closing(store.read()) as snapshot:
            assert snapshot.origins(a, 9) == []
            assert snapshot.origins(b, 9) == [a]
            assert snapshot.origins(c, 9) == [b, a]
            assert snapshot.origins(c, 1) == [b]
            assert snapshot.origins(d, 9) == [c]  # its user is another one: only its own device's
            assert snapshot.origins(stranger, 9) == snapshot.origins(lost, 9) == []
            assert [snapshot.owner(name) for name in ("d", "e", "x", "no")] == ["u", "v", "w", None]
        assert store.transact(lambda w: [w.last_place(name) for name in ("d", "no")]) == [2, 0]

    def test_what_any_replica_of_a_device_has_sent(self, store: Store) -> None:
        def work(writer: Writer) -> None:
            for place, name in enumerate(("a", "b", "c")):
                writer.put_replica(ReplicaRecord(name, "d", "u", last_seen=place, place=place + 1))
            writer.put_replica(ReplicaRecord("e", "e", "u"))
            for name, others in (("a", []), ("b", [2]), ("c", [5]), ("e", [])):
                ids = [(4, b"i"), *((number, b"j") for number in others)]
                writer.record(
                    name,
                    [Recorded(n, i * 16, b"b", "applied", answer=name.encode()) for n, i in ids],
                )

        store.transact(work)
        asked = [b"i" * 16, b"j" * 16, b"k" * 16]

        def found(devices: list[str]) -> list[tuple[str, int, bytes]]:
            with closing(store.read()) as snapshot:
                sent = snapshot.sent_by(devices, asked)
            assert sent == store.transact(lambda w: w.sent_by(devices, asked))
            return [(r.replica, one.number, one.id[:1]) for r, one in sent]

        assert found(["d", "e"]) == [], "no copies are known"
        store.transact(lambda w: w.mark_copies(["d", "no"], 4))
        assert found(["d", "e"]) == [("a", 4, b"i"), ("b", 4, b"i"), ("c", 4, b"i"), ("c", 5, b"j")]
        assert found(["e", "no"]) == found([]) == []
        store.transact(lambda w: w.mark_copies(["e", "d"], 1))
        assert len(found(["d", "e"])) == 6

        def more(writer: Writer) -> None:
            writer.record("a", [Recorded(9, b"k" * 16, b"b", "held")], copied=True)
            writer.record("a", [Recorded(8, b"k" * 16, b"b", "held")])

        store.transact(more)
        assert found(["d"])[-1] == ("a", 9, b"k")
        with closing(store.read()) as snapshot:
            assert snapshot.sent_by(["d"], []) == []
            ((replica, recorded),) = snapshot.sent_by(["e"], asked)
            assert replica == snapshot.replica("e") and replica.copied and replica.has_relatives
            assert recorded == Recorded(4, b"i" * 16, b"b", "applied", answer=b"e")

    def test_what_is_in_a_backup_is_never_less_than_it_was(self, store: Store) -> None:
        def work(writer: Writer) -> None:
            for name in ("a", "b"):
                writer.put_replica(ReplicaRecord(name, name, "u", high=9))
            writer.set_backed_up({"a": 5, "nobody": 3})
            writer.set_backed_up({"a": 4, "b": 2})
            writer.set_backed_up({})

        store.transact(work)
        store.transact(lambda w: w.put_replica(ReplicaRecord("a", "a", "u", high=12)))
        found = store.transact(lambda w: [w.replica("a"), w.replica("b")])
        assert [(one.high, one.backed_up) for one in found if one] == [(12, 5), (9, 2)]

    def test_numbers_go_when_they_are_old_confirmed_and_settled(self, store: Store) -> None:
        def push(replica: str, numbers: range, confirmed: int) -> None:
            def work(writer: Writer) -> None:
                known = writer.replica(replica) or ReplicaRecord(replica, replica, "u")
                writer.record(
                    replica,
                    [
                        Recorded(n, b"i" * 16, b"b", "refused" if n == 2 else "applied")
                        for n in numbers
                    ],
                )
                high = max(numbers, default=known.high)
                writer.put_replica(
                    ReplicaRecord(replica, replica, "u", high=high, confirmed=confirmed)
                )

            store.transact(work)

        push("d", range(1, 6), 4)
        push("e", range(1, 3), 0)
        assert store.transact(lambda w: w.upkeep.mark_replicas(100, 1)) == 1
        assert store.transact(lambda w: w.upkeep.mark_replicas(100, 9)) == 1
        push("d", range(6, 8), 5)
        assert store.transact(lambda w: w.upkeep.raise_forgotten(100, 9)) == 0
        assert store.transact(lambda w: w.upkeep.forget_numbers(9)) == 0
        assert store.transact(lambda w: w.upkeep.raise_forgotten(101, 9)) == 1
        assert store.transact(lambda w: w.upkeep.raise_forgotten(101, 9)) == 0
        assert store.transact(lambda w: w.upkeep.forget_numbers(3)) == 3
        assert store.transact(lambda w: w.upkeep.forget_numbers(3)) == 1
        known = store.transact(lambda w: [w.replica("d"), w.replica("e")])
        assert [one and one.forgotten for one in known] == [5, 0]

        def left(replica: str) -> list[int]:
            return store.transact(lambda w: sorted(w.recorded(replica, range(1, 9))))

        assert (left("d"), left("e")) == ([2, 6, 7], [1, 2])
        store.transact(lambda w: w.settle("d", 2))
        assert store.transact(lambda w: w.upkeep.mark_replicas(200, 9)) == 1
        push("d", range(0), 7)
        assert store.transact(lambda w: w.upkeep.raise_forgotten(999, 9)) == 1
        assert store.transact(lambda w: w.upkeep.forget_numbers(9)) == 3
        assert left("d") == []
