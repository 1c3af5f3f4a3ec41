"""Conformance suite for server stores: run it against a ``Store`` of your own.

Knows: the contract in ``server.store``. Must not know: which database is behind it.
Subclass it in a test module and say how a store is opened; opening twice in one test must find the
same database::

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def opened(self) -> Callable[[Schema], Store]:
            return lambda schema: MyStore("...", schema)

Needs pytest. Upholds the ground of I3, I7, I10, I11, I16, I17, I22 and I31.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from holdfast.core.digest import Digest
from holdfast.core.errors import ConstraintFailed, DatabaseError, SchemaError
from holdfast.core.keys import row_key
from holdfast.core.values import Row
from holdfast.schema.model import Check, Column, ForeignKey, Schema, Table
from holdfast.server.store.contract import (
    Expected,
    FeedEntry,
    JournalEntry,
    MovedRow,
    ReplicaRecord,
    RowRecord,
    Scope,
    Snapshot,
    Store,
    Writer,
)
from holdfast.testing.conformance.file import FileConformance
from holdfast.testing.conformance.generation import GenerationConformance
from holdfast.testing.conformance.registry import RegistryConformance
from holdfast.testing.conformance.replica import ReplicaConformance

EVERY = Table(
    name="every",
    key=("k_text", "k_bytes", "k_number"),
    columns=(
        Column("k_text"), Column("k_bytes", "bytes"), Column("k_number", "integer"),
        Column("a_text", nullable=True), Column("an_integer", "integer", nullable=True),
        Column("a_real", "real", nullable=True), Column("a_boolean", "boolean", nullable=True),
        Column("some_bytes", "bytes", nullable=True), Column("a_uuid", "uuid", nullable=True),
        Column("a_timestamp", "timestamp", nullable=True), Column("a_date", "date", nullable=True),
        Column("a_decimal", "decimal", scale=2, nullable=True),
        Column("a_json", "json", nullable=True),
    ),
    scopes=("all",),
)  # fmt: skip
ITEM = Table(
    name="item",
    key=("id",),
    columns=(Column("id"), Column("code", nullable=True), Column("size", "integer", default="0")),
    scopes=("all",),
    unique=(("code",),),
    existence_public=True,
    checks=(Check("size", "range", min=0),),
)
PART = Table(
    name="part",
    key=("id",),
    columns=(Column("id", "integer"), Column("item", nullable=True)),
    scopes=("all",),
    foreign_keys=(ForeignKey(("item",), "item"),),
)
SCHEMA = Schema(name="conformance", tables=(EVERY, ITEM, PART))

_UUID = "01890a5d-ac96-774b-bcce-b302099a8057"
ROWS: tuple[Row, ...] = (
    ("a", b"\x00", 1, *[None] * 10),
    (
        "b/%\"\\'{},NULL", b"\xff\x00/", -(2**63), "", 2**63 - 1, 1.7976931348623157e308, 1,
        b"", _UUID, -62_135_596_800_000_000, "2024-02-29", "-0.01", '{"b": 1,  "a": [1.0]}',
    ),
    (
        "日本 \U0001f4e6", b"\x7f", 0, "a\nb\t\\x00 \"q\" {1,2} NULL \u202e", -(2**63), 5e-324, 0,
        bytes(range(256)), _UUID, 253_402_300_799_999_999, "9999-12-31", "1234567890.10", "null",
    ),
    ("Z", b"z", 2**53 + 1, "NULL", 0, 0.1, 1, b"\\x", _UUID, 0, "0001-01-01", "0.00", '"\\u0000"'),
)  # fmt: skip
KEY = bytes(range(32))


def _scope(name: str, head: int = 0, count: int = 0) -> Scope:
    return Scope(name, head, Digest.of(count, f"{count:032x}"), KEY)


class StoreConformance(
    FileConformance, GenerationConformance, RegistryConformance, ReplicaConformance
):
    """The suite; see the module."""

    schema = SCHEMA

    @pytest.fixture
    def opened(self) -> Callable[[Schema], Store]:
        """Open the test's database, make it if need be. The suite closes what it opens."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, opened: Callable[[Schema], Store]) -> Iterator[Store]:
        with closing(opened(SCHEMA)) as store:
            yield store

    # Values and rows

    def test_every_value_comes_back_as_it_was(self, store: Store) -> None:
        keys = [row_key(EVERY, row) for row in ROWS]

        def work(writer: Writer) -> None:
            writer.write(EVERY, first_gone=[], rows=ROWS)
            writer.put_records(EVERY, [RowRecord(key, 7, b"s", None) for key in keys])

        store.transact(work)
        with closing(store.read()) as snapshot:
            found = {key: row for key, _, row in snapshot.rows(EVERY, [*keys, "no/00/5"])}
            assert found == dict(zip(keys, ROWS, strict=True))
            kinds = {key: [type(value) for value in row] for key, row in found.items()}
            assert kinds == {row_key(EVERY, row): [type(v) for v in row] for row in ROWS}
            assert {k: s.values for k, s in snapshot.stored(EVERY, keys).items()} == found
        assert dict(store.transact(lambda writer: writer.page(EVERY, None, 99))) == found

    def test_a_row_is_written_anew_and_deleted(self, store: Store) -> None:
        def work(writer: Writer) -> None:
            writer.write(ITEM, first_gone=[], rows=[("a", "x", 1), ("b", "y", 2)])
            writer.write(ITEM, first_gone=["b", "none"], rows=[("a", "x", 5)])

        store.transact(work)
        assert self._items(store) == {"a": ("a", "x", 5)}

    def test_unique_values_can_be_swapped(self, store: Store) -> None:
        store.transact(lambda w: w.write(ITEM, first_gone=[], rows=[("a", "x", 0), ("b", "y", 0)]))
        store.transact(
            lambda w: w.write(ITEM, first_gone=["a", "b"], rows=[("a", "y", 0), ("b", "x", 0)])
        )
        assert self._items(store) == {"a": ("a", "y", 0), "b": ("b", "x", 0)}

    @pytest.mark.parametrize(
        ("row", "kind"), [(("b", "x", 0), "unique"), (("b", "y", -1), "check")]
    )
    def test_a_constraint_undoes_its_savepoint_only(
        self, store: Store, row: Row, kind: str
    ) -> None:
        def attempt(writer: Writer) -> None:
            with writer.savepoint():
                writer.write(ITEM, first_gone=[], rows=[("c", None, 0)])
                writer.write(ITEM, first_gone=[], rows=[row])

        def work(writer: Writer) -> None:
            writer.write(ITEM, first_gone=[], rows=[("a", "x", 0)])
            with pytest.raises(ConstraintFailed) as caught:
                attempt(writer)
            assert caught.value.kind == kind
            if kind == "unique":
                assert caught.value.message == "UNIQUE constraint failed: item.code"
            writer.write(ITEM, first_gone=[], rows=[("d", None, 0)])

        store.transact(work)
        assert set(self._items(store)) == {"a", "d"}

    def test_looking_around(self, store: Store) -> None:
        def work(writer: Writer) -> None:
            writer.write(ITEM, first_gone=[], rows=[("a", "x", 0), ("b", None, 0)])
            writer.write(PART, first_gone=[], rows=[(1, "a"), (2, "a"), (3, None)])
            assert writer.existing(ITEM, ["a", "c"]) == {"a"}
            assert writer.existing(ITEM, []) == set()
            (foreign,) = PART.foreign_keys
            assert sorted(writer.children(PART, foreign, ("a",), 5)) == ["1", "2"]
            assert len(writer.children(PART, foreign, ("a",), 1)) == 1
            assert writer.holder(ITEM, ("code",), ("x",)) == "a"
            assert writer.holder(ITEM, ("code",), ("y",)) is None
            assert writer.query("SELECT id, size FROM item WHERE code = ?", ("x",)) == [
                {"id": "a", "size": 0}
            ]
            (counted,) = writer.query("SELECT count(*) AS n, '?' AS q FROM part", ())
            assert counted == {"n": 3, "q": "?"}
            for bad in ("SELECT nothing", "DELETE FROM part"):
                with pytest.raises(DatabaseError):
                    writer.query(bad, ())
            assert writer.query("SELECT count(*) AS n FROM part", ()) == [{"n": 3}]

        store.transact(work)

    def test_an_image_has_what_was_there(self, store: Store) -> None:
        row = ROWS[1]
        key = row_key(EVERY, row)

        def work(writer: Writer) -> None:
            writer.stored(EVERY, [key])
            writer.put_records(EVERY, [RowRecord(key, 9, b"st", row)])

        store.transact(work)
        with closing(store.read()) as snapshot:
            (stored,) = snapshot.stored(EVERY, [key]).values()
            assert (stored.rev, stored.stamps, stored.values, stored.image) == (9, b"st", None, row)
            assert snapshot.revs(EVERY, [key, "x/00/1"]) == {key: 9}
            assert list(snapshot.rows(EVERY, [key])) == []

    # Transactions

    def test_nothing_stays_of_what_raises(self, store: Store) -> None:
        def work(writer: Writer) -> None:
            writer.write(ITEM, first_gone=[], rows=[("a", "x", 0)])
            writer.put_scopes([_scope("all")])
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.transact(work)
        assert self._items(store) == {}
        with closing(store.read()) as snapshot:
            assert snapshot.scope_names() == []

    def test_a_snapshot_is_one_moment(self, store: Store) -> None:
        store.transact(lambda w: w.write(ITEM, first_gone=[], rows=[("a", "x", 1)]))
        with closing(store.read()) as snapshot:
            store.transact(lambda w: w.write(ITEM, first_gone=[], rows=[("a", "x", 2)]))
            assert snapshot.stored(ITEM, ["a"])["a"].values == ("a", "x", 1)
        assert self._items(store) == {"a": ("a", "x", 2)}

    # Feeds, scopes and positions

    def test_feeds_and_positions(self, store: Store) -> None:
        entries = [
            FeedEntry("all", "item", f"k{n:05}", 1, n.to_bytes(16, "big"), removed=False)
            for n in range(3000)
        ]

        def first(writer: Writer) -> None:
            assert writer.known_scopes(["all", "none"]) == set()
            writer.put_scopes([_scope("all"), _scope("other"), _scope("few")])
            assert writer.known_scopes(["all", "none"]) == {"all"}

        def second(writer: Writer) -> None:
            assert set(writer.scopes(["all", "none", "few"])) == {"all", "few"}
            writer.put_feed(entries)
            more = [FeedEntry("few", "item", key, 1, b"h" * 16, removed=False) for key in "ab"]
            writer.put_feed(more)
            writer.put_scopes([_scope("all", 1, 3000), _scope("few", 1, 2)])

        def third(writer: Writer) -> None:
            found = writer.scopes(["all"])["all"]
            assert (found.head, found.digest.count, found.key) == (1, 3000, KEY)
            assert writer.hashes("all", ITEM, ["k00001", "nope"]) == {
                "k00001": (1).to_bytes(16, "big")
            }
            writer.put_feed([FeedEntry("all", "item", "k00007", 2, b"", removed=True)])
            writer.put_scopes([_scope("all", 2, 2999)])

        for work in (first, second, third):
            store.transact(work)
        with closing(store.read()) as snapshot:
            gone = MovedRow("item", "k00007", removed=True, version=2)
            few = [("few", MovedRow("item", key, removed=False, version=1)) for key in "ab"]
            assert list(snapshot.moved({"all": 1})) == [("all", gone)]
            assert list(snapshot.moved({"few": 0, "none": 0, "all": 1})) == [*few, ("all", gone)]
            found = list(snapshot.moved({"all": 0, "few": 0}))
            assert [name for name, _ in found] == ["all"] * 3000 + ["few"] * 2
            versions = [moved.version for _, moved in found]
            assert versions == [1] * 2999 + [2, 1, 1] and found[2999] == ("all", gone)
            assert snapshot.moved_count({"all": 0}, 10_000) == 3000
            assert snapshot.moved_count({"all": 0, "few": 0, "none": 0}, 10_000) == 3002
            assert snapshot.moved_count({"all": 0, "few": 0}, 50) == 50
            assert snapshot.moved_count({"all": 1}, 50) == 1
            assert snapshot.moved_count({"none": 0}, 50) == 0
            assert snapshot.moved_count({}, 50) == 0
            assert snapshot.positions({"all": 1, "other": 1, "few": 7, "none": 0}) == {
                "all": Digest.of(3000, f"{3000:032x}")
            }
            assert snapshot.positions({"all": 3}) == snapshot.positions({}) == {}
            assert snapshot.count("all", ("", ""), None) == 2999
            assert snapshot.count("all", ("item", "k00006"), ("item", "k00009")) == 2
            assert snapshot.count("all", ("item", "k00006\0"), ("item", "k00008\0")) == 1
            live = list(snapshot.live("all", ("item", "k"), None))
            assert live == sorted(live) and len(live) == 2999
            pairs = [("all", "k00001"), ("all", "k00007"), ("other", "k00001")]
            assert snapshot.versions(ITEM, pairs) == {("all", "k00001"): 1}

    def test_what_is_expected_is_what_is_read(self, store: Store) -> None:
        """To say what will be asked for changes no answer, however much it is."""

        def work(writer: Writer) -> None:
            writer.put_scopes([_scope("all"), _scope("other")])
            writer.put_replica(ReplicaRecord("d", "d", "u", nonce="n", high=7))

        store.transact(work)
        for version, count in ((1, 150), (2, 199), (3, 200)):
            entries = [
                FeedEntry("all", "item", f"{version}-{n}", version, KEY[:16], removed=n == 1)
                for n in range(count)
            ]

            def change(writer: Writer, v: int = version, e: list[FeedEntry] = entries) -> None:
                writer.scopes(["all"])
                writer.put_feed(e)
                writer.put_scopes([_scope("all", v, v)])

            store.transact(change)
        many = {f"s{n}": 0 for n in range(40)}
        for held in (0, 1, 2, 3, 9):
            for rest in ({}, {"other": 0, "none": 5, "nul\0": 1}, many):
                scopes = {"all": held, **rest}
                for device in ("", "d", "nobody"):
                    with (
                        closing(store.read()) as plain,
                        closing(store.read(Expected(device, scopes))) as expected,
                    ):
                        assert _looks(expected, scopes) == _looks(plain, scopes)

    def test_keys_are_ordered_as_bytes(self, store: Store) -> None:
        keys = ["a", "B", "b", "ä", "Z", "\U0001f4e6", "_", "\uffff"]

        def work(writer: Writer) -> None:
            writer.put_scopes([_scope("all")])
            writer.put_feed([FeedEntry("all", "item", k, 1, b"h", removed=False) for k in keys])

        store.transact(work)
        with closing(store.read()) as snapshot:
            found = [key for _, key, _ in snapshot.live("all", ("", ""), None)]
        assert found == sorted(keys, key=str.encode)

    # The journal

    def test_the_journal(self, store: Store) -> None:
        entries = [
            JournalEntry(n, "item", "k", "size", "latest", {"kept": n, "lost": None})
            for n in range(5)
        ]
        store.transact(lambda w: w.add_journal(entries))
        with closing(store.read()) as snapshot:
            found = snapshot.journal(table="item", key="k", before=0, limit=2)
            assert [entry.at for entry in found] == [4, 3]
            older = snapshot.journal(table="", key="", before=found[-1].number, limit=9)
            assert [entry.at for entry in older] == [2, 1, 0]
            assert dict(older[0].entry) == {"kept": 2, "lost": None}
            assert snapshot.journal(table="item", key="k\0", before=0, limit=9) == []
        assert store.transact(lambda w: w.upkeep.forget_journal(3, 2)) == 2
        assert store.transact(lambda w: w.upkeep.forget_journal(3, 2)) == 1
        with closing(store.read()) as snapshot:
            assert len(snapshot.journal(table="", key="", before=0, limit=9)) == 2

    def test_rows_and_entries_come_in_pages(self, store: Store) -> None:
        keys = [row_key(EVERY, row) for row in ROWS]

        def work(writer: Writer) -> None:
            writer.write(EVERY, first_gone=[], rows=ROWS)
            writer.write(PART, first_gone=[], rows=[(n, None) for n in (10, 9, -1, 2)])
            writer.put_scopes([_scope("all"), _scope("b")])
            writer.put_feed(
                [
                    FeedEntry(scope, "item", key, 1, b"h", key == "x")
                    for scope in ("b", "all")
                    for key in ("z", "x", "a")
                ]
            )

        store.transact(work)
        with closing(store.read()) as snapshot:
            found, after = [], None
            for _ in ROWS:
                ((key, row),) = snapshot.page(EVERY, after, 1)
                found.append(key)
                after = row[:3]
            assert sorted(found) == sorted(keys)
            assert snapshot.page(EVERY, after, 1) == []
            assert [key for key, _ in snapshot.page(PART, None, 3)] == ["-1", "2", "9"]
            assert [key for key, _ in snapshot.page(PART, (9,), 3)] == ["10"]
            entries = [("all", "item", "a"), ("all", "item", "z"), ("b", "item", "a")]
            assert snapshot.entries(("", "", ""), 3) == entries
            assert snapshot.entries(entries[1], 9) == [entries[2], ("b", "item", "z")]

    def test_it_remembers_when_a_job_was_done(self, opened: Callable[[Schema], Store]) -> None:
        with closing(opened(SCHEMA)) as store:
            assert store.transact(lambda w: w.upkeep.last_run("job")) == 0
            store.transact(lambda w: w.upkeep.ran("job", 5))
            store.transact(lambda w: w.upkeep.ran("job", 9))
        with closing(opened(SCHEMA)) as store:
            assert store.transact(lambda w: w.upkeep.last_run("job")) == 9

    def test_it_says_that_it_is_ready(self, store: Store) -> None:
        store.check_ready()
        with store.alone("job") as alone:
            assert alone
        store.check_ready()

    # Forgetting in time

    def test_a_floor_rises_to_what_is_marked_and_only_removals_below_it_go(
        self, store: Store
    ) -> None:
        def version(number: int, *entries: FeedEntry) -> None:
            def work(writer: Writer) -> None:
                writer.scopes(["all"])
                writer.put_feed(entries)
                writer.put_scopes([_scope("all", number, number)])

            store.transact(work)

        def entry(key: str, number: int, *, removed: bool) -> FeedEntry:
            return FeedEntry("all", "item", key, number, b"" if removed else b"h", removed)

        store.transact(lambda w: w.put_scopes([_scope("all"), _scope("idle")]))
        version(1, entry("a", 1, removed=False), entry("b", 1, removed=True))
        version(2, entry("c", 2, removed=True), entry("d", 2, removed=True))
        assert store.transact(lambda w: w.upkeep.mark_scopes(100, 9)) == 2
        assert store.transact(lambda w: w.upkeep.mark_scopes(110, 9)) == 0
        version(3, entry("e", 3, removed=True))
        assert store.transact(lambda w: w.upkeep.mark_scopes(200, 9)) == 1
        assert store.transact(lambda w: w.upkeep.due(100)) == {}
        assert store.transact(lambda w: w.upkeep.due(101)) == {"all": 2}
        assert store.transact(lambda w: w.upkeep.forget_removals("all", 9)) == 0
        store.transact(lambda w: w.upkeep.raise_floor("all", 2))
        store.transact(lambda w: w.upkeep.raise_floor("all", 1))
        assert store.transact(lambda w: w.upkeep.due(101)) == {}
        places = [("all", key) for key in "abcdez"]
        left = {("all", key) for key in "bcde"}
        assert store.transact(lambda w: w.upkeep.removals(ITEM, places)) == left
        assert store.transact(lambda w: w.upkeep.forget_removals("all", 2)) == 2
        assert store.transact(lambda w: w.upkeep.forget_removals("all", 2)) == 1
        assert store.transact(lambda w: w.upkeep.removals(ITEM, places)) == {("all", "e")}
        assert store.transact(lambda w: w.upkeep.forget_positions("all", 9)) == 2
        version(4, entry("e", 4, removed=False))
        with closing(store.read()) as snapshot:
            assert snapshot.floors(["all", "idle", "no\0"]) == {"all": 2, "idle": 0}
            assert snapshot.floors([]) == {}
            assert [s.floor for s in snapshot.scopes(["all"]).values()] == [2]
            assert [n for n in range(5) if snapshot.positions({"all": n})] == [2, 3, 4]
            assert {moved.key for _, moved in snapshot.moved({"all": 0})} == {"a", "e"}

    def test_rows_that_are_gone_are_found_in_order_and_forgotten(self, store: Store) -> None:
        image = ("x", None, 0)

        def work(writer: Writer) -> None:
            for table, keys in ((ITEM, "cab"), (PART, "12")):
                records = [
                    RowRecord(k, 7, b"s", image if table is ITEM else (int(k), None)) for k in keys
                ]
                writer.put_records(table, [*records, RowRecord("9", 7, b"s", None)])

        store.transact(work)
        gone = [("item", "a"), ("item", "b"), ("item", "c"), ("part", "1"), ("part", "2")]
        assert store.transact(lambda w: w.upkeep.gone(("", ""), 99)) == gone
        assert store.transact(lambda w: w.upkeep.gone(("item", "b"), 2)) == gone[2:4]
        revs = {"a": 7, "b": 8, "9": 7, "none": 7}
        assert store.transact(lambda w: w.upkeep.forget_rows(ITEM, revs)) == 1
        assert store.transact(lambda w: w.upkeep.gone(("", ""), 99)) == gone[1:]

        def found(writer: Writer) -> list[str]:
            return sorted(writer.stored(ITEM, ["a", "b", "c", "9"]))

        assert store.transact(found) == ["9", "b", "c"]

    # Opening

    def test_it_is_the_same_database_when_opened_again(
        self, opened: Callable[[Schema], Store]
    ) -> None:
        with closing(opened(SCHEMA)) as store:
            identity = store.epoch, store.seal_secret
            assert not store.unwatched and store.stale_tables == ()
            store.transact(lambda w: w.write(ITEM, first_gone=[], rows=[("a", "x", 1)]))
        with closing(opened(SCHEMA)) as store:
            assert (store.epoch, store.seal_secret) == identity
            assert not store.unwatched
            assert self._items(store) == {"a": ("a", "x", 1)}

    def test_it_grows_by_what_a_schema_adds(self, opened: Callable[[Schema], Store]) -> None:
        added = Column("colour", default="red")
        grown = Table(
            name="item", key=ITEM.key, columns=(*ITEM.columns, added), scopes=ITEM.scopes,
            unique=ITEM.unique, existence_public=True, checks=ITEM.checks,
        )  # fmt: skip
        more = Table(name="more", key=("id",), columns=(Column("id"),), scopes=("all",))
        schema = Schema(name="conformance", tables=(EVERY, grown, PART, more), generation=2)
        with closing(opened(SCHEMA)) as store:
            store.transact(lambda w: w.write(ITEM, first_gone=[], rows=[("a", "x", 1)]))
        with closing(opened(schema)) as store:
            assert list(store.stale_tables) == ["item"]
            store.transact(store.clear_stale)
            assert not list(store.stale_tables)
            rows = store.transact(lambda w: w.page(grown, None, 9))
            assert rows == [("a", ("a", "x", 1, "red"))]
        with pytest.raises(SchemaError) as caught:
            opened(SCHEMA)
        assert caught.value.code == "schema_mismatch"

    def test_a_closed_store_says_so(self, opened: Callable[[Schema], Store]) -> None:
        store = opened(SCHEMA)
        store.close()
        with pytest.raises(DatabaseError):
            store.read()

    def _items(self, store: Store) -> dict[str, Sequence[Any]]:
        return dict(store.transact(lambda writer: writer.page(ITEM, None, 99)))


def _looks(snapshot: Snapshot, scopes: dict[str, int]) -> tuple[object, ...]:
    """All that an exchange reads before it reads rows."""
    names = [*scopes, "other", "none"]
    return (
        snapshot.has_notes(),
        [snapshot.replica(name) for name in ("d", "nobody")],
        snapshot.scopes(names),
        snapshot.positions(scopes),
        [snapshot.moved_count({name: at}, 250) for name, at in scopes.items()],
        snapshot.moved_count(scopes, 250),
        [list(snapshot.moved({name: at})) for name, at in scopes.items()],
        list(snapshot.moved(scopes)),
    )
