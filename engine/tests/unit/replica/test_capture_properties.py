"""Whatever plain SQL does to the tables, the outbox holds exactly the net change of each row.

The oracle knows nothing of triggers: it dumps the tables before and after and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from replica_lab import SCHEMA, Device, captured, device, difference, dump, kinds

from holdfast.core.errors import ConstraintFailed
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


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_the_outbox_is_the_difference(library):
    @settings(max_examples=120 if library == "apsw" else 60, deadline=None)
    @given(TRANSACTIONS, st.integers(0, 8))
    def run(transactions, odd):
        with device(library) as phone:
            for number, steps in enumerate(transactions):
                one_transaction(phone, steps, give_up=number == odd)
            check_outbox(phone)

    run()


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_autocommitted_statements_are_sealed_together(library):
    """What is written outside our transactions is one group, never split, never lost."""

    @settings(max_examples=40 if library == "apsw" else 20, deadline=None)
    @given(st.lists(STATEMENTS, min_size=1, max_size=10))
    def run(steps):
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
