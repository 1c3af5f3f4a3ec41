"""What is visible is the server's rows with the unsettled transactions replayed on them, whole.

A small world: a server that is a dictionary, a device that writes plain SQL and takes in answers in
any order, with any outcome. After each step the device is compared with a model that knows only
rows, the net changes of transactions (from dumps), and what an answer said: each transaction is
seen whole or not at all, none is set aside without need, nothing is left without its parent.

Checks I4, I6, I14, I15, I16, I28.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import currently_in_test_context, event, given, settings
from hypothesis import strategies as st
from properties import examples
from replica_lab import Device, captured, device, difference, dump

from holdfast.core.digest import Digest, row_hash
from holdfast.core.errors import ConstraintFailed
from holdfast.core.values import to_wire
from holdfast.protocol.messages import (
    Checkpoint,
    Gone,
    Head,
    Line,
    Outcome,
    Position,
    Rows,
    ScopeGrant,
)
from holdfast.replica.changes.outbox import next_batch
from holdfast.replica.rebase.apply import Applier
from holdfast.replica.rebase.overlay import Overlay
from holdfast.replica.storage.database import transaction
from holdfast.schema import Check, Column, ForeignKey, Schema, Table

THING = Table(
    name="thing",
    key=("id",),
    columns=(
        Column("id"),
        Column("store_id", default="s"),
        Column("u", nullable=True),
        Column("name", default=""),
        Column("qty", "integer", merge="counter"),
    ),
    scopes=("store/{store_id}",),
    unique=(("store_id", "u"),),
    checks=(Check("qty", "range", min=-3),),
)
PART = Table(
    name="part",
    key=("id",),
    columns=(
        Column("id"),
        Column("store_id", default="s"),
        Column("thing", nullable=True),
        Column("note", default=""),
    ),
    scopes=("store/{store_id}",),
    foreign_keys=(ForeignKey(("thing",), "thing"),),
)
SCHEMA = Schema("overlay", (PART, THING))
ALL_SCOPES = ("store/s", "store/t", "store/z")
KEYS = {scope: bytes([number]) * 32 for number, scope in enumerate(ALL_SCOPES)}
QTY_MIN = -3

Place = tuple[str, str]
Data = tuple[Any, ...]
"""Of a thing: store_id, u, name, qty. Of a part: store_id, thing, note."""
Rows_ = dict[Place, Data]


@dataclass
class Tx:
    """A local transaction as the model knows it: net change by place, and what became of it."""

    number: int
    notes: dict[Place, tuple[bool, bool, Data, Data]]
    state: Any = "pending"


def remark(text: str) -> None:
    if currently_in_test_context():
        event(text)


def fold(place: Place, row: Data | None, note: tuple[bool, bool, Data, Data]) -> Data | None:
    """One change on a row, from the design alone."""
    was, now, old, new = note
    if not now:
        return None
    if row is None:
        return new
    result = list(row)
    for at, column in enumerate(SCHEMA.by_name[place[0]].columns[1:]):
        if (old[at] if was else column.default_value()) == new[at]:
            continue  # of an insert: nobody has chosen that
        if column.merge == "counter":
            result[at] = row[at] + new[at] - (old[at] if was else 0)
        else:
            result[at] = new[at]
    return tuple(result)


def wrong(rows: Rows_) -> set[str]:
    """Which kinds of constraints the rows break; orphans are looked for elsewhere."""
    things = [row for (name, _), row in rows.items() if name == "thing"]
    taken = [row[:2] for row in things if row[1] is not None]
    found = {"unique"} if len(taken) > len(set(taken)) else set()
    return found | ({"check"} if any(row[3] < QTY_MIN for row in things) else set())


def orphans(rows: Rows_) -> set[tuple[str, str]]:
    """Parts, and the things they refer to, which are not there."""
    return {
        (key, row[1]) for (name, key), row in rows.items()
        if name == "part" and row[1] is not None and ("thing", row[1]) not in rows
    }  # fmt: skip


@dataclass
class World:
    phone: Device
    server: Rows_ = field(default_factory=dict)
    revs: dict[Place, int] = field(default_factory=dict)
    truth: Rows_ = field(default_factory=dict)
    """What the device was last told."""
    scopes: tuple[str, ...] = ALL_SCOPES[:2]
    outbox: list[Tx] = field(default_factory=list)
    version: int = 0

    # --- what happens ---------------------------------------------------------------------------

    def seen(self) -> Rows_:
        found = dump(self.phone.db.app, SCHEMA)
        return {(name, key): row for name, rows in found.items() for key, row in rows.items()}

    def local(self, statements: Any) -> None:
        before = dump(self.phone.db.app, SCHEMA)
        try:
            with self.phone.write() as db:
                for sql, params in statements:
                    try:
                        db.execute(sql, params)
                    except ConstraintFailed as error:
                        assert error.kind in ("unique", "check")  # noqa: PT017
        except ConstraintFailed as error:  # a foreign key, at the commit
            assert error.kind == "foreign_key"  # noqa: PT017
            assert dump(self.phone.db.app, SCHEMA) == before
            return
        net = difference(before, dump(self.phone.db.app, SCHEMA), SCHEMA)
        assert (self.phone.sealed is not None) == bool(net)
        if self.phone.sealed is not None:
            notes = {(name, key): note for name, of in net.items() for key, note in of.items()}
            self.outbox.append(Tx(self.phone.sealed, notes))
        self.check_rows()

    def edit(self, place: Place, row: Data | None) -> bool:
        """The server's row changes, if its constraints allow it."""
        after = {**self.server}
        after.pop(place, None)
        if row is not None:
            after[place] = row
        if row == self.server.get(place) or wrong(after) or orphans(after):
            return False
        self.revs[place] = self.revs.get(place, 0) + 1
        self.server = after
        return True

    def contest(self, here: str, there: str, wanted: str | None, other: str | None) -> None:
        """A row here and a row there take one value; another row here takes what was freed."""
        freed = self.truth.get(("thing", here), ("s", None))[1]
        self.local(
            [
                ("UPDATE thing SET u = NULL WHERE u = ?", (wanted,)),
                (
                    (
                        "INSERT INTO thing (id, u) VALUES (?, ?) "
                        "ON CONFLICT (id) DO UPDATE SET u = excluded.u"
                    ),
                    (here, wanted),
                ),
            ]
        )
        self.local([("UPDATE thing SET u = ? WHERE u IS ? AND id <> ?", (freed, other, here))])
        for place, row in sorted(self.server.items()):
            if place[0] == "thing" and row[1] == wanted and place[1] != there:
                self.edit(place, (row[0], None, *row[2:]))
        self.edit(("thing", there), ("s", wanted, "won", 1))
        self.exchange([], self.scopes, False)

    def sell_out(self, key: str, left: int, taken: int) -> None:
        """There is less on the server than here is taken, with a part that says what for."""
        self.edit(("thing", key), ("s", None, "x", left))
        self.exchange([], self.scopes, False)
        self.local(
            [
                ("UPDATE thing SET qty = qty - ? WHERE id = ?", (taken, key)),
                ("INSERT OR REPLACE INTO part (id, note) VALUES (?, 'sold')", (key,)),
            ]
        )
        self.edit(("thing", key), ("s", None, "x", QTY_MIN + 1))
        self.exchange([], self.scopes, False)

    def bereave(self, key: str, child: str, *, here: bool) -> None:
        """A parent goes and a child comes: one here, the other on the server."""
        self.edit(("part", child), None)
        self.edit(("thing", key), ("s", None, "x", 1))
        self.exchange([], self.scopes, False)
        if here:
            self.local([("UPDATE part SET thing = NULL WHERE thing = ?", (key,)),
                        ("DELETE FROM thing WHERE id = ?", (key,))])  # fmt: skip
            self.edit(("part", child), ("s", key, "new"))
        else:
            self.local([("INSERT OR REPLACE INTO part (id, thing) VALUES (?, ?)", (child, key)),
                        ("UPDATE thing SET name = 'y' WHERE id <> ?", (key,))])  # fmt: skip
            self.edit(("thing", key), None)
        self.exchange([], self.scopes, False)

    def exchange(self, fates: list[str], scopes: tuple[str, ...], repeat: bool) -> None:
        with transaction(self.phone.db.sync):
            batch = next_batch(self.phone.db.sync, SCHEMA, self.phone.db.program)
        unsettled = [tx for tx in self.outbox if tx.state in ("pending", "sent")]
        assert [sent.number for sent in batch] == [tx.number for tx in unsettled]
        for tx in unsettled:
            tx.state = "sent"
        outcomes = []
        for tx, sent, fate in zip(unsettled, batch, fates, strict=False):
            tx.state = self.decide(tx, fate)
            remark(tx.state)
            outcomes.append(
                Outcome(
                    tx.number, sent.id, tx.state, "test", "a reason", "u", int(tx.state == "held")
                )
            )
        seen = {key: row for key, row in self.server.items() if f"store/{row[0]}" in scopes}
        told = seen if repeat else {
            key: row for key, row in seen.items()
            if self.truth.get(key) != row or self.known(key) != self.revs[key]
        }  # fmt: skip
        gone = [
            place
            for place in self.truth
            if place not in seen and (f"store/{self.truth[place][0]}" in scopes)
        ]
        self.scopes, self.truth = scopes, seen
        self.answer(outcomes, told, gone)

    def known(self, place: Place) -> object:
        rows = self.phone.rows("SELECT rev FROM holdfast_row WHERE tbl = ? AND key = ?", *place)
        return rows[0][0] if rows else None

    def decide(self, tx: Tx, fate: str) -> str:
        if fate in ("refused", "held"):
            return fate
        if fate == "ignored":
            return "applied"
        after = dict(self.server)
        for key, note in tx.notes.items():
            row = fold(key, after.get(key), note)
            after.pop(key, None)
            if row is not None:
                after[key] = row
        if wrong(after) or orphans(after):
            return "refused"
        self.server = after
        for place in tx.notes:
            self.revs[place] = self.revs.get(place, 0) + 1
        return "applied"

    def answer(self, outcomes: list[Outcome], told: Rows_, gone: list[Place]) -> None:
        self.version += 1
        lines: list[Line] = []
        for name in ("thing", "part"):
            rows = [self.wire(p, row) for p, row in sorted(told.items()) if p[0] == name]
            keys = [place[1] for place in gone if place[0] == name]
            lines += [Rows(name, rows)] if rows else []
            lines += [Gone(name, keys)] if keys else []
        if self.version % 2:
            lines.reverse()
        head = Head(
            1, "epoch", "device", "user", "echo", 0, SCHEMA.fingerprint,
            {scope: ScopeGrant(KEYS[scope].hex(), True) for scope in self.scopes}, outcomes,
        )  # fmt: skip
        checkpoint = Checkpoint(
            {scope: self.position(scope) for scope in self.scopes}, len(lines) + 1
        )
        with transaction(self.phone.db.sync):
            applied = Applier(
                self.phone.db.sync, SCHEMA, self.phone.db.program,
                now_us=self.phone.now_us, random_bytes=self.phone.random_bytes,
            ).apply(head, lines, checkpoint)  # fmt: skip
        assert applied.differing == []
        self.check_rows()
        self.check_overlay()
        self.check_books()

    def wire(self, place: Place, row: Data) -> list[Any]:
        values, columns = (place[1], *row), SCHEMA.by_name[place[0]].columns
        return [
            self.revs[place],
            *(to_wire(c.type, value) for c, value in zip(columns, values, strict=True)),
        ]

    def position(self, scope: str) -> Position:
        digest = Digest()
        for (name, key), row in self.truth.items():
            if f"store/{row[0]}" == scope:
                digest = digest.add(row_hash(KEYS[scope], name, key, (key, *row)))
        return Position(self.version, digest.count, digest.hex, "seal")

    # --- what must hold -------------------------------------------------------------------------

    def unsettled(self) -> dict[Place, list[Tx]]:
        result: dict[Place, list[Tx]] = {}
        for tx in self.outbox:
            if tx.state in ("pending", "sent"):
                for place in tx.notes:
                    result.setdefault(place, []).append(tx)
        return result

    def held(self) -> dict[int, tuple[str, int, int]]:
        """Transactions that are set aside: why, with which, and what was made after that."""
        sql = "SELECT number, code, held_by, aside FROM holdfast_tx WHERE aside > 0"
        return {n: (code, by, aside) for n, code, by, aside in self.phone.rows(sql)}  # type: ignore[misc]

    def with_all_but(self, hidden: Collection[int]) -> tuple[Rows_, bool]:
        """The rows with the other transactions, each whole; whether one has nothing to stand on."""
        rows, lost = dict(self.truth), False
        for place, txs in self.unsettled().items():
            row = self.truth.get(place)
            for tx in txs:
                note = tx.notes[place]
                if tx.number in hidden:
                    continue
                if row is None and note[0] and note[1]:
                    first = txs[0].notes[place]
                    if not first[0] or self.rests_on_refused(tx, place):
                        lost = True
                        continue
                    row = first[2]
                row = fold(place, row, note)
            rows.pop(place, None)
            if row is not None:
                rows[place] = row
        return rows, lost

    def rests_on_refused(self, tx: Tx, place: Place) -> bool:
        """Whether the row of this change was inserted by a transaction that was refused."""
        ((base, after),) = self.phone.rows(
            f"SELECT c.base, x.after FROM holdfast_change_{place[0]} AS c JOIN holdfast_tx AS x "
            "ON x.number = c.tx WHERE c.tx = ? AND c.key = ?", tx.number, place[1],
        )  # fmt: skip
        stopped = {other.number for other in self.outbox if other.state in ("refused", "held")}
        return base == 0 and bool(stopped & set(json.loads(str(after))))

    def breaks(self, hidden: Collection[int]) -> set[str]:
        """What is wrong without some; orphans that the server itself shows are nobody's fault."""
        rows, lost = self.with_all_but(hidden)
        found = wrong(rows) | ({"row_gone"} if lost else set())
        return found | ({"foreign_key"} if orphans(rows) - orphans(self.truth) else set())

    def check_rows(self) -> None:
        """I16: what is seen is the truth with whole transactions."""
        assert (self.seen(), False) == self.with_all_but(self.held())

    def check_overlay(self) -> None:
        """Nothing is broken, nothing is set aside without need; truth is known of every row."""
        held = self.held()
        assert not self.breaks(held)
        if not self.breaks(()):
            assert not held
        for number, (code, by, _) in held.items():
            remark(f"set aside: {code}")
            ((after, state),) = self.phone.rows(
                "SELECT after, state FROM holdfast_tx WHERE number = ?", number
            )
            assert state in ("pending", "sent")
            if code == "held":
                assert by in held and number < held[by][2] and by in json.loads(str(after))
                continue
            assert code in self.breaks(held.keys() - {number}), (
                f"{number} is set aside without need, or for another reason than {code}"
            )
        for number in {tx.number for tx in self.outbox if tx.state in ("pending", "sent")}:
            ((named,),) = self.phone.rows("SELECT after FROM holdfast_tx WHERE number = ?", number)
            on = [by for by in json.loads(str(named)) if by in held and number < held[by][2]]
            assert number in held or not on, f"{number} is shown, and {on} is not"
        places = self.seen().keys() | self.truth.keys() | self.unsettled().keys()
        for name, key in places:
            overlay = Overlay(
                self.phone.db.sync, SCHEMA.by_name[name], self.phone.db.program.tables[name]
            )
            row = self.truth.get((name, key))
            assert overlay.truth(key, frozenset()) == (None if row is None else (key, *row)), key
        for name in SCHEMA.by_name.keys() & {"thing", "part"}:
            shadows = self.phone.rows(f"SELECT key FROM holdfast_shadow_{name}")
            assert {(name, str(key)) for (key,) in shadows} <= self.unsettled().keys()

    def check_books(self) -> None:
        """I4: each transaction is unsettled, or in the inbox as it was made, or was applied."""
        found: Any = self.phone.rows("SELECT number, state FROM holdfast_tx")
        states: dict[int, str] = dict(found)
        assert states == {tx.number: tx.state for tx in self.outbox if tx.state != "applied"}
        stored: dict[object, dict[Place, object]] = {}
        for number in states:
            for name, of in captured(self.phone.db.app, number, SCHEMA).items():
                for key, note in of.items():
                    stored.setdefault(number, {})[name, key] = note
        assert stored == {tx.number: tx.notes for tx in self.outbox if tx.state != "applied"}
        members = set(self.phone.rows("SELECT DISTINCT tbl, key FROM holdfast_member"))
        assert members == self.truth.keys()
        revs = {(tbl, key): rev for tbl, key, rev in self.phone.rows("SELECT * FROM holdfast_row")}
        assert revs == {place: self.revs[place] for place in self.truth}
        assert self.phone.rows("SELECT applying FROM holdfast_state") == [(0,)]
        aside, seen = self.held(), self.phone.rows("SELECT DISTINCT id, kind FROM holdfast_inbox")
        assert {int(str(id_)) for id_, kind in seen if kind == "held"} == aside.keys() | {
            tx.number for tx in self.outbox if tx.state == "held"
        }


IDS = st.sampled_from("abcd")
US = st.sampled_from([None, "1", "2", "3", "4"])
STORES = st.sampled_from(["s", "s", "s", "s", "s", "t", "z"])
NAMES = st.sampled_from(["x", "y"])
NUMBERS = st.integers(-2, 2)


def sql(text: str, *params: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.just(text), st.tuples(*params))


LOCAL = st.lists(
    st.one_of(
        sql(
            "INSERT OR IGNORE INTO thing (id, u, name, qty) VALUES (?, ?, ?, ?)",
            IDS,
            US,
            NAMES,
            NUMBERS,
        ),
        sql(
            "INSERT OR REPLACE INTO thing (id, u, name, qty) VALUES (?, ?, ?, ?)",
            IDS,
            US,
            NAMES,
            NUMBERS,
        ),
        sql("UPDATE thing SET u = ? WHERE id = ?", US, IDS),
        sql("UPDATE OR REPLACE thing SET u = ? WHERE id = ?", US, IDS),
        sql("UPDATE thing SET qty = qty + ? WHERE id = ?", NUMBERS, IDS),
        sql("UPDATE thing SET name = ?", NAMES),
        sql("UPDATE thing SET store_id = ? WHERE id = ?", STORES, IDS),
        sql("UPDATE thing SET u = 'tmp' || u"),
        sql(
            "UPDATE thing SET u = CASE u WHEN 'tmp1' THEN '2' WHEN 'tmp2' THEN '3' ELSE '1' END "
            "WHERE u LIKE 'tmp%'"
        ),
        sql("DELETE FROM thing WHERE id = ?", IDS),
        sql("UPDATE thing SET qty = qty - 2"),
        sql("INSERT OR IGNORE INTO part (id, thing, note) VALUES (?, ?, ?)", IDS, IDS, NAMES),
        sql("UPDATE part SET thing = ? WHERE id = ?", st.none() | IDS, IDS),
        sql("UPDATE part SET note = ? WHERE id = ?", NAMES, IDS),
        sql("UPDATE part SET store_id = ? WHERE id = ?", STORES, IDS),
        sql("DELETE FROM part WHERE id = ?", IDS),
        sql("DELETE FROM part"),
    ),
    min_size=1,
    max_size=4,
)
ROW = st.one_of(
    st.tuples(st.just("thing"), IDS, st.none() | st.tuples(STORES, US, NAMES, NUMBERS)),
    st.tuples(st.just("part"), IDS, st.none() | st.tuples(STORES, st.none() | IDS, NAMES)),
)
FATES = st.sampled_from(["applied", "applied", "refused", "held", "ignored"])
SCOPES = st.sampled_from(
    [ALL_SCOPES[:2], ALL_SCOPES[:2], ALL_SCOPES[:2], ALL_SCOPES[:1], ALL_SCOPES[1:2]]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("local"), LOCAL),
        st.tuples(st.just("local"), LOCAL),
        st.tuples(st.just("edit"), st.lists(ROW, min_size=1, max_size=5)),
        st.tuples(st.just("contest"), IDS, IDS, US, US),
        st.tuples(st.just("contest"), IDS, IDS, US, US),
        st.tuples(st.just("sell out"), IDS, NUMBERS, st.integers(1, 4)),
        st.tuples(st.just("bereave"), IDS, IDS, st.booleans()),
        st.tuples(st.just("exchange"), st.lists(FATES, max_size=3), SCOPES, st.booleans()),
        st.tuples(st.just("exchange"), st.lists(FATES, max_size=3), SCOPES, st.booleans()),
    ),
    min_size=3,
    max_size=14,
)


def play(library: str, steps: Any) -> None:
    with device(library, SCHEMA) as phone:
        world = World(phone)
        for number, key in enumerate("abc", start=1):
            world.edit(("thing", key), ("s", str(number), "x", number))
        world.edit(("part", "a"), ("s", "a", "x"))
        world.exchange([], world.scopes, False)
        for kind, *args in steps:
            if kind == "local":
                world.local(*args)
            elif kind == "edit":
                for name, key, row in args[0]:
                    world.edit((name, key), row)
            elif kind == "contest":
                world.contest(*args)
            elif kind == "sell out":
                world.sell_out(*args)
            elif kind == "bereave":
                world.bereave(*args[:2], here=args[2])
            else:
                world.exchange(*args)
        world.exchange([], world.scopes, False)
        # At rest: all is decided, nothing is left of the overlay.
        world.exchange(["refused"] * 100, ALL_SCOPES[:2], False)
        assert world.seen() == world.truth
        assert phone.rows("SELECT * FROM holdfast_shadow_part") == []
        assert phone.rows("SELECT * FROM holdfast_shadow_thing") == []


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.parametrize(("library", "count"), [("apsw", 100), ("stdlib", 25)])
def test_visible_is_truth_with_the_unsettled_changes(library: Any, count: Any) -> None:
    @settings(max_examples=examples(count))
    @given(STEPS)
    def run(steps: Any) -> None:
        play(library, steps)

    run()


SAY = "exchange"
NOTHING: tuple[Any, ...] = (SAY, [], ALL_SCOPES[:2], False)


def write(text: str, *params: Any) -> tuple[Any, ...]:
    return ("local", [(text, params)])


STORIES: dict[str, list[tuple[Any, ...]]] = {
    "a local value meets news, waits, and comes back": [
        write("INSERT INTO thing (id, u) VALUES ('a', '1')"),
        ("edit", [("thing", "b", ("s", "1", "x", 0))]),
        NOTHING,
        ("edit", [("thing", "b", ("s", "2", "x", 0))]),
        NOTHING,
    ],
    "someone took what a change had freed, and the change is set aside": [
        ("edit", [("thing", "a", ("s", "1", "x", 0)), ("thing", "b", ("s", "2", "x", 0))]),
        NOTHING,
        write("UPDATE thing SET u = '3' WHERE id = 'b'"),
        write("INSERT INTO thing (id, u) VALUES ('c', '2')"),
        ("edit", [("thing", "a", ("s", "3", "x", 0))]),
        NOTHING,
        ("edit", [("thing", "a", ("s", "1", "x", 0))]),
        NOTHING,
    ],
    "a swap in one transaction, touched by news": [
        ("edit", [("thing", "a", ("s", "1", "x", 0)), ("thing", "b", ("s", "2", "x", 0))]),
        NOTHING,
        ("local", [
            ("UPDATE thing SET u = 'tmp' WHERE id = 'a'", ()),
            ("UPDATE thing SET u = '1' WHERE id = 'b'", ()),
            ("UPDATE thing SET u = '2' WHERE id = 'a'", ()),
        ]),
        ("edit", [("thing", "a", ("s", "1", "y", 5)), ("thing", "b", ("s", "2", "y", 5))]),
        NOTHING,
    ],
    "a chain: each takes what the next has freed": [
        ("edit", [("thing", key, ("s", n, "x", 0)) for key, n in ("a1", "b2", "c3")]),
        NOTHING,
        write("UPDATE thing SET u = '4' WHERE id = 'c'"),
        write("UPDATE thing SET u = '3' WHERE id = 'b'"),
        write("UPDATE thing SET u = '2' WHERE id = 'a'"),
        ("edit", [("thing", "d", ("s", "4", "x", 0)), ("thing", "a", ("s", "1", "y", 1))]),
        NOTHING,
        ("edit", [("thing", "d", None)]),
        NOTHING,
    ],
    "a refused change of a row that later changes build on": [
        ("edit", [("thing", "a", ("s", None, "x", 10))]),
        NOTHING,
        write("UPDATE thing SET qty = qty - 1"),
        write("UPDATE thing SET qty = qty - 2, name = 'y'"),
        (SAY, ["refused"], ALL_SCOPES[:2], False),
        ("edit", [("thing", "a", ("s", None, "x", 7))]),
        NOTHING,
    ],
}  # fmt: skip


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
@pytest.mark.parametrize("name", STORIES)
def test_stories(name: Any, library: Any) -> None:
    play(library, STORIES[name])


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_the_later_change_yields(library: Any) -> None:
    """Two changes want a value that the server took and gave back: the earlier one gets it."""
    with device(library, SCHEMA) as phone:
        world = World(phone)
        for key, value in (("a", "1"), ("c", "3")):
            world.edit(("thing", key), ("s", value, "x", 0))
        world.exchange([], world.scopes, False)
        world.local([("UPDATE thing SET u = '4' WHERE id = 'a'", ())])
        world.edit(("thing", "d"), ("s", "4", "x", 0))
        world.exchange([], world.scopes, False)
        assert world.held().keys() == {1}
        world.local([("UPDATE thing SET u = '5' WHERE id = 'd'", ())])
        world.local([("UPDATE thing SET u = '4' WHERE id = 'c'", ())])
        world.edit(("thing", "a"), ("s", "1", "y", 7))
        world.exchange([], world.scopes, False)
        assert world.held().keys() == {3}
        assert {key: row[1] for key, row in dump(phone.db.app, SCHEMA)["thing"].items()} == {
            "a": "4",
            "c": "3",
            "d": "5",
        }
        world.exchange(["refused"], world.scopes, False)
        assert world.held() == {}


def test_bases_are_json() -> None:
    """The bases of chained changes are plain revisions by column."""
    with device("apsw", SCHEMA) as phone:
        world = World(phone)
        world.edit(("thing", "a"), ("s", None, "x", 0))
        world.exchange([], world.scopes, False)
        world.local([("UPDATE thing SET name = 'y'", ())])
        world.edit(("thing", "a"), ("s", None, "x", 5))
        world.exchange([], world.scopes, False)
        world.local([("UPDATE thing SET name = 'z', qty = 9", ())])
        rows = phone.rows("SELECT base, bases FROM holdfast_change_thing ORDER BY tx")
        assert [(base, json.loads(str(bases or "{}"))) for base, bases in rows] == [
            (1, {}),
            (2, {"name": 1}),
        ]
