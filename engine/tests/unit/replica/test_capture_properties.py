"""Whatever plain SQL does to the tables, the outbox holds exactly the net change of each row.

The oracle knows nothing of triggers: it dumps the tables before and after and compares.

Checks I2, I16.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from properties import examples
from replica_lab import SCHEMA, Device, captured, device, difference, dump, kinds

from holdfast.core.errors import ConstraintFailed
from holdfast.replica.storage.database import applying, transaction
from holdfast.sqlite import Connection

IDS = st.sampled_from(["a", "b", "c/d", "e%2F", "é"])
SKUS = st.sampled_from([None, None, "k1", "k2", "k3"])
SLOTS = st.sampled_from([None, 0, 1, 2, 3, 4])
NAMES = st.sampled_from(["x", "y", "it's", None])
NUMBERS = st.integers(-3, 3)
REALS = st.sampled_from([None, 0.5, 3.0, -0.0, 3, 1e300])
BYTES = st.sampled_from([None, b"", b"\x00\xff"])
JSONS = st.sampled_from([None, "{}", "not json"])
NUMS = st.sampled_from([1, 2, 3, -1, None])
CODES = st.sampled_from(["d", "p", "q", None])
WORDS = st.sampled_from(["v", "w/", "%"])
OR = st.sampled_from(["", "OR REPLACE", "OR IGNORE", "OR ABORT", "OR FAIL"])


@dataclass(frozen=True)
class Statement:
    sql: str
    params: tuple[Any, ...]


@dataclass(frozen=True)
class Savepoint:
    inner: tuple[Any, ...]
    keep: bool


def statement(sql: str, *params: st.SearchStrategy[Any]) -> st.SearchStrategy[Statement]:
    """A statement; `{or}` stands for a conflict clause."""
    return st.builds(
        lambda clause, values: Statement(sql.replace("{or}", clause), values),
        OR,
        st.tuples(*params),
    )


ITEM = "item (id, store_id, sku, slot, name, qty, ratio, raw, facts)"
ITEM_VALUES = (IDS, st.just("s"), SKUS, SLOTS, NAMES, NUMBERS, REALS, BYTES, JSONS)

STATEMENTS = st.one_of(
    statement(f"INSERT {{or}} INTO {ITEM} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *ITEM_VALUES),
    statement(f"INSERT {{or}} INTO {ITEM} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *ITEM_VALUES),
    statement(
        f"INSERT {{or}} INTO {ITEM} "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *ITEM_VALUES,
        *ITEM_VALUES,
    ),
    statement(
        f"INSERT INTO {ITEM} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET qty = item.qty + excluded.qty, slot = excluded.slot",
        *ITEM_VALUES,
    ),
    statement(
        f"INSERT INTO {ITEM} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (store_id, sku) DO UPDATE SET name = excluded.name ON CONFLICT DO NOTHING",
        *ITEM_VALUES,
    ),
    statement("INSERT {or} INTO item (id, slot) SELECT id || ?, slot + 3 FROM item", IDS),
    statement("REPLACE INTO item (id, slot) VALUES (?, ?)", IDS, SLOTS),
    statement("UPDATE {or} item SET slot = ? WHERE id = ?", SLOTS, IDS),
    statement("UPDATE {or} item SET slot = ?, sku = ? WHERE id > ?", SLOTS, SKUS, IDS),
    statement("UPDATE {or} item SET slot = slot + ?", NUMBERS),
    statement("UPDATE item SET qty = qty + ?, name = name", NUMBERS),
    statement("UPDATE {or} item SET name = ?, ratio = ?, raw = ?", NAMES, REALS, BYTES),
    statement("UPDATE {or} item SET facts = ? WHERE qty >= ?", JSONS, NUMBERS),
    statement("UPDATE {or} item SET id = ? WHERE id = ?", IDS, IDS),
    statement("DELETE FROM item WHERE id = ?", IDS),
    statement("DELETE FROM item WHERE slot >= ?", SLOTS),
    statement("DELETE FROM item"),
    statement("INSERT {or} INTO part (id, item_id) VALUES (?, ?)", IDS, IDS),
    statement("DELETE FROM part WHERE id <> ?", IDS),
    statement("INSERT {or} INTO pair (a, b, note) VALUES (?, ?, ?)", WORDS, NUMBERS, NAMES),
    statement(
        "INSERT INTO pair (a, b, note) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET note = excluded.note WHERE b > 0",
        WORDS,
        NUMBERS,
        NAMES,
    ),
    statement("UPDATE pair SET note = ? WHERE a = ?", NAMES, WORDS),
    statement("UPDATE {or} pair SET b = b + ?", NUMBERS),
    statement("DELETE FROM pair WHERE b = ?", NUMBERS),
    statement("INSERT {or} INTO tag (item, word) VALUES (?, ?)", IDS, WORDS),
    statement("DELETE FROM tag WHERE word = ?", WORDS),
    statement("UPDATE {or} tag SET word = word WHERE item = ?", IDS),
    statement("INSERT {or} INTO num (id, code) VALUES (?, ?)", NUMS, CODES),
    statement("REPLACE INTO num (id, code, v) VALUES (?, ?, 'r')", NUMS, CODES),
    statement("UPDATE {or} num SET code = ?", CODES),
    statement("UPDATE {or} num SET code = ? WHERE id = ?", CODES, NUMS),
    statement("UPDATE {or} num SET rowid = ? WHERE id = ?", NUMS, NUMS),
    statement("UPDATE {or} num SET oid = ?, v = 'w' WHERE id = ?", NUMS, NUMS),
    statement("DELETE FROM num WHERE id <> ?", NUMS),
)

STEPS: st.SearchStrategy[Any] = st.recursive(
    STATEMENTS,
    lambda steps: st.builds(Savepoint, st.lists(steps, max_size=4).map(tuple), st.booleans()),
    max_leaves=4,
)
TRANSACTIONS = st.lists(st.lists(STEPS, min_size=1, max_size=8), min_size=1, max_size=4)


class GaveUp(Exception):
    """The app changed its mind in the middle of a transaction."""


def perform(db: Connection, steps: Any) -> None:
    for step in steps:
        if isinstance(step, Savepoint):
            db.execute("SAVEPOINT s")
            perform(db, step.inner)
            if not step.keep:
                db.execute("ROLLBACK TO s")
            db.execute("RELEASE s")
            continue
        try:
            db.execute(step.sql, step.params)
        except ConstraintFailed as error:
            event(error.kind)


def one_transaction(phone: Device, steps: Any, *, give_up: bool) -> None:
    before = dump(phone.db.app)
    outbox = [phone.rows(f"SELECT * FROM holdfast_change_{t.name}") for t in SCHEMA.tables]
    committed = True
    try:
        with phone.write() as db:
            perform(db, steps)
            if give_up:
                raise GaveUp  # noqa: TRY301 - as an app would
    except GaveUp:
        committed = False
    except ConstraintFailed as error:
        assert error.kind == "foreign_key", "only COMMIT may fail"  # noqa: PT017
        committed = False
    after = dump(phone.db.app)
    if not committed:
        assert phone.sealed is None
        assert after == before
        assert outbox == [
            phone.rows(f"SELECT * FROM holdfast_change_{t.name}") for t in SCHEMA.tables
        ]
        return
    expected = difference(before, after)
    assert (phone.sealed is not None) == bool(expected)
    assert kinds(captured(phone.db.app, phone.sealed)) == kinds(expected)


def check_outbox(phone: Device) -> None:
    """Numbers without gaps, an id each, no note without its transaction, nothing left open."""
    heads = phone.rows("SELECT number, id, state FROM holdfast_tx ORDER BY number")
    assert [number for number, _, _ in heads] == list(range(1, len(heads) + 1))
    assert len({id_ for _, id_, _ in heads}) == len(heads)
    assert {state for _, _, state in heads} <= {"pending"}
    assert phone.rows("SELECT open_tx, applying FROM holdfast_state") == [(len(heads) + 1, 0)]
    for table in SCHEMA.tables:
        assert (
            phone.rows(
                f"SELECT tx FROM holdfast_change_{table.name} "
                "WHERE tx NOT IN (SELECT number FROM holdfast_tx)"
            )
            == []
        )


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_the_outbox_is_the_difference(library: Any) -> None:
    @settings(max_examples=examples(120 if library == "apsw" else 60))
    @given(TRANSACTIONS, st.integers(0, 8))
    def run(transactions: Any, odd: Any) -> None:
        with device(library) as phone:
            for number, steps in enumerate(transactions):
                one_transaction(phone, steps, give_up=number == odd)
            check_outbox(phone)

    run()


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_autocommitted_statements_are_sealed_together(library: Any) -> None:
    """What is written outside our transactions is one group, never split, never lost."""

    @settings(max_examples=examples(40 if library == "apsw" else 20))
    @given(st.lists(STATEMENTS, min_size=1, max_size=10))
    def run(steps: Any) -> None:
        with device(library) as phone:
            before = dump(phone.db.app)
            phone.db.app.execute("PRAGMA recursive_triggers = ON")
            perform(phone.db.app, steps)
            expected = difference(before, dump(phone.db.app))
            number = phone.seal_now()
            assert (number is not None) == bool(expected)
            assert kinds(captured(phone.db.app, number)) == kinds(expected)
            check_outbox(phone)

    run()


WORK = st.lists(
    st.tuples(
        st.sampled_from(["ours", "ours", "given up", "foreign", "foreign"]),
        st.lists(STEPS, min_size=1, max_size=5),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=2,
    max_size=7,
)


def work(phone: Device, kind: str, steps: Any) -> bool:
    """One transaction of ours, or one of a connection that sets no marks; whether it committed."""
    if kind == "foreign":
        with transaction(phone.db.sync):
            perform(phone.db.sync, steps)
        return True
    try:
        with phone.commit() as db:
            perform(db, steps)
            if kind == "given up":
                raise GaveUp  # noqa: TRY301 - as an app would
    except GaveUp:
        return False
    except ConstraintFailed as error:
        assert error.kind == "foreign_key", "only COMMIT may fail"  # noqa: PT017
        return False
    return True


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_what_is_sealed_later_keeps_its_boundaries(library: Any) -> None:
    """Each commit of ours is one transaction, what others did in between is one; whenever it is
    sealed, however often a row was touched since, and whatever later commits made of it."""

    @settings(max_examples=examples(150 if library == "apsw" else 60))
    @given(WORK)
    def run(works: Any) -> None:
        with device(library) as phone:
            expected: list[Any] = []
            start = dump(phone.db.app)  # of the open group
            for kind, steps, seal in works:
                before = dump(phone.db.app)
                committed = work(phone, kind, steps)
                after = dump(phone.db.app)
                if kind != "foreign" and committed:
                    expected += [difference(start, before), difference(before, after)]
                    start = after
                pending = phone.rows("SELECT tbl, key, kind FROM holdfast_pending")
                if seal:
                    phone.seal_now()
                    expected.append(difference(start, after))
                    start = after
                    sealed = phone.rows("SELECT tbl, key, kind FROM holdfast_pending")
                    assert sorted(pending) == sorted(sealed)
            expected.append(difference(start, dump(phone.db.app)))
            expected = [net for net in expected if net]
            assert open_groups(phone) == len(expected)
            rows = [
                (name, key, "delete" if not now else "update" if was else "insert")
                for net in expected
                for name, changes in net.items()
                for key, (was, now, _, _) in changes.items()
            ]
            found = phone.rows("SELECT tbl, key, kind FROM holdfast_pending")
            assert sorted(found) == sorted(rows)
            phone.seal_now()
            assert sorted(phone.rows("SELECT tbl, key, kind FROM holdfast_pending")) == sorted(rows)
            for number, net in enumerate(expected, start=1):
                assert kinds(captured(phone.db.app, number)) == kinds(net)
            check_outbox(phone)

    run()


def open_groups(phone: Device) -> int:
    """As the status tells it: sealed transactions, and what the log will become."""
    ((unsealed,),) = phone.rows(phone.db.program.open_groups)
    ((sealed,),) = phone.rows("SELECT count(*) FROM holdfast_tx")
    return int(str(unsealed)) + int(str(sealed))


def known(phone: Device) -> None:
    """As if news had told of some rows."""
    with transaction(phone.db.sync) as _, applying(phone.db.sync):
        for rev, key in enumerate(("a", "b", "c/d"), start=40):
            phone.db.sync.execute("INSERT INTO item (id, slot) VALUES (?, ?)", (key, -rev))
            phone.db.sync.execute("INSERT INTO holdfast_row VALUES ('item', ?, ?)", (key, rev))


def outbox(phone: Device) -> object:
    """All of it, but for ids and times."""
    heads = phone.rows("SELECT number, state, after, void FROM holdfast_tx ORDER BY number")
    notes = {
        table.name: phone.rows(f"SELECT * FROM holdfast_change_{table.name} ORDER BY tx, key")
        for table in SCHEMA.tables
    }
    return heads, notes


@pytest.mark.slow
@settings(max_examples=examples(100))
@given(st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=2, max_size=6), st.integers(0, 6))
def test_sealed_at_once_or_later_is_the_same(transactions: Any, settled: Any) -> None:
    """Bases, and what a transaction builds on, do not tell when it was sealed."""
    with device() as prompt, device() as late:
        for phone in (prompt, late):
            known(phone)
        for number, steps in enumerate(transactions):
            for phone, write in ((prompt, prompt.write), (late, late.commit)):
                with suppress(ConstraintFailed), write() as db:
                    perform(db, steps)
                if number == settled:  # both are sealed now: earlier work no longer counts
                    phone.seal_now()
                    phone.rows("UPDATE holdfast_tx SET state = 'refused' WHERE number % 2")
        late.seal_now()
        assert kinds_of(outbox(late)) == kinds_of(outbox(prompt))


def kinds_of(found: Any) -> Any:
    heads, notes = found
    return heads, {
        name: [[(type(v), v) for v in row] for row in rows] for name, rows in notes.items()
    }
