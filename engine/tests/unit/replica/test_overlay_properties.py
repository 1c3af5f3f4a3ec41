"""What is visible is the server's rows with the unsettled changes replayed on them.

A small world: a server that is a dictionary, a device that writes plain SQL and takes in answers in
any order, with any outcome. After each step the device is compared with a model that knows only
rows, the net changes of transactions (from dumps), and what an answer said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import currently_in_test_context, event, given, settings
from hypothesis import strategies as st
from replica_lab import Device, device, difference, dump

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
from holdfast.replica.apply import Applier
from holdfast.replica.database import transaction
from holdfast.replica.outbox import next_batch
from holdfast.replica.overlay import Overlay
from holdfast.schema import Column, Schema, Table

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
)
SCHEMA = Schema("overlay", (THING,))
ALL_SCOPES = ("store/s", "store/t", "store/z")
KEYS = {scope: bytes([number]) * 32 for number, scope in enumerate(ALL_SCOPES)}

Data = tuple[Any, ...]
"""store_id, u, name, qty."""


@dataclass
class Tx:
    """A local transaction as the model knows it: net change by key, and what became of it."""

    number: int
    notes: dict[str, tuple[bool, bool, Data, Data]]
    state: str = "pending"


def remark(text: str) -> None:
    if currently_in_test_context():
        event(text)


def fold(row: Data | None, note: tuple[bool, bool, Data, Data]) -> Data | None:
    """One change on a row, from the design alone."""
    was, now, old, new = note
    if not now:
        return None
    if row is None:
        return new
    result = list(row)
    for place, column in enumerate(THING.columns[1:]):
        if was and old[place] == new[place]:
            continue
        if column.merge == "counter":
            result[place] = row[place] + new[place] - (old[place] if was else 0)
        else:
            result[place] = new[place]
    return tuple(result)


def collides(rows: dict[str, Data], key: str, row: Data | None) -> bool:
    if row is None or row[1] is None:
        return False
    return any(k != key and other[:2] == row[:2] for k, other in rows.items())


def consistent(rows: dict[str, Data]) -> bool:
    taken = [row[:2] for row in rows.values() if row[1] is not None]
    return len(taken) == len(set(taken))


@dataclass
class World:
    phone: Device
    server: dict[str, Data] = field(default_factory=dict)
    revs: dict[str, int] = field(default_factory=dict)
    truth: dict[str, Data] = field(default_factory=dict)
    """What the device was last told."""
    scopes: tuple[str, ...] = ALL_SCOPES[:2]
    outbox: list[Tx] = field(default_factory=list)
    version: int = 0

    # --- what happens ---------------------------------------------------------------------------

    def local(self, statements: Any) -> None:
        before = dump(self.phone.db.app, SCHEMA)
        with self.phone.write() as db:
            for sql, params in statements:
                try:
                    db.execute(sql, params)
                except ConstraintFailed as error:
                    assert error.kind == "unique"  # noqa: PT017
        net = difference(before, dump(self.phone.db.app, SCHEMA), SCHEMA)
        assert (self.phone.sealed is not None) == bool(net)
        if self.phone.sealed is not None:
            self.outbox.append(Tx(self.phone.sealed, net["thing"]))
        self.check_rows()

    def edit(self, key: str, row: Data | None) -> bool:
        """The server's row changes, if its constraints allow it."""
        if collides(self.server, key, row) or row == self.server.get(key):
            return False
        self.revs[key] = self.revs.get(key, 0) + 1
        if row is None:
            del self.server[key]
        else:
            self.server[key] = row
        return True

    def contest(self, here: str, there: str, wanted: str | None, other: str | None) -> None:
        """A row here and a row there take one value; another row here takes what was freed."""
        freed = self.truth.get(here, ("s", None))[1]
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
        for key, row in sorted(self.server.items()):
            if row[1] == wanted and key != there:
                self.edit(key, (row[0], None, *row[2:]))
        self.edit(there, ("s", wanted, "won", 1))
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
            key
            for key in self.truth
            if key not in seen and (f"store/{self.truth[key][0]}" in scopes)
        ]
        self.scopes, self.truth = scopes, seen
        self.answer(outcomes, told, gone)

    def known(self, key: str) -> object:
        rows = self.phone.rows("SELECT rev FROM holdfast_row WHERE key = ?", key)
        return rows[0][0] if rows else None

    def decide(self, tx: Tx, fate: str) -> str:
        if fate in ("refused", "held"):
            return fate
        if fate == "ignored":
            return "applied"
        after = dict(self.server)
        for key, note in tx.notes.items():
            row = fold(after.get(key), note)
            after.pop(key, None)
            if row is not None:
                after[key] = row
        if not consistent(after):
            return "refused"
        for key in tx.notes:
            self.server.pop(key, None) if key not in after else None
        for key in tx.notes:
            if key in after and self.server.get(key) != after[key]:
                self.server[key] = after[key]
            self.revs[key] = self.revs.get(key, 0) + 1
        return "applied"

    def answer(self, outcomes: list[Outcome], told: dict[str, Data], gone: list[str]) -> None:
        self.version += 1
        lines: list[Line] = []
        if told:
            lines.append(Rows("thing", [self.wire(key, row) for key, row in sorted(told.items())]))
        if gone:
            lines.append(Gone("thing", gone))
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

    def wire(self, key: str, row: Data) -> list[Any]:
        values = (key, *row)
        return [
            self.revs[key],
            *(to_wire(c.type, value) for c, value in zip(THING.columns, values, strict=True)),
        ]

    def position(self, scope: str) -> Position:
        digest = Digest()
        for key, row in self.truth.items():
            if f"store/{row[0]}" == scope:
                digest = digest.add(row_hash(KEYS[scope], "thing", key, (key, *row)))
        return Position(self.version, digest.count, digest.hex, "seal")

    # --- what must hold -------------------------------------------------------------------------

    def unsettled(self) -> dict[str, list[Tx]]:
        result: dict[str, list[Tx]] = {}
        for tx in self.outbox:
            if tx.state in ("pending", "sent"):
                for key in tx.notes:
                    result.setdefault(key, []).append(tx)
        return result

    def held(self) -> set[tuple[int, str]]:
        sql = (
            "SELECT c.tx, c.key FROM holdfast_change_thing AS c JOIN holdfast_tx AS x "
            "ON x.number = c.tx WHERE c.held = 1 AND x.state IN ('pending', 'sent')"
        )
        return {(int(str(tx)), str(key)) for tx, key in self.phone.rows(sql)}

    def check_rows(self) -> None:
        """Each row is the truth with those of its unsettled changes that are not set aside."""
        visible = dump(self.phone.db.app, SCHEMA)["thing"]
        unsettled, held = self.unsettled(), self.held()
        for key in visible.keys() | self.truth.keys() | unsettled.keys():
            row = self.truth.get(key)
            for tx in unsettled.get(key, []):
                if (tx.number, key) not in held:
                    row = fold(row, tx.notes[key])
            assert visible.get(key) == row, key

    def check_overlay(self) -> None:
        """Nothing is set aside without need; truth is known of every row."""
        visible = dump(self.phone.db.app, SCHEMA)["thing"]
        wanted = dict(self.truth)
        whole: dict[str, Data | None] = {}
        for key, txs in self.unsettled().items():
            row = self.truth.get(key)
            for tx in txs:
                row = fold(row, tx.notes[key])
            whole[key] = row
            wanted.pop(key, None)
            if row is not None:
                wanted[key] = row
        held = self.held()
        if consistent(wanted):
            assert not held
            assert visible == wanted
        else:
            remark("collision")
            assert held
        for key in {key for _, key in held}:
            assert collides(visible, key, whole[key]), f"{key} is set aside without need"
            row = self.truth.get(key)
            for tx in self.unsettled()[key]:
                candidate = fold(row, tx.notes[key])
                if (tx.number, key) not in held:
                    row = candidate
                elif row is not None and candidate is not None:
                    assert candidate[:2] != row[:2], (
                        "a change that takes no unique value is never held"
                    )
        overlay = Overlay(self.phone.db.sync, THING, self.phone.db.program.tables["thing"])
        for key in visible.keys() | self.truth.keys() | whole.keys():
            row = self.truth.get(key)
            assert overlay.truth(key, frozenset()) == (None if row is None else (key, *row)), key
        shadows = {str(key) for (key,) in self.phone.rows("SELECT key FROM holdfast_shadow_thing")}
        assert shadows <= whole.keys()

    def check_books(self) -> None:
        """I4: each transaction is unsettled, or in the inbox as it was made, or was applied."""
        states = dict(self.phone.rows("SELECT number, state FROM holdfast_tx"))  # type: ignore[arg-type]
        assert states == {tx.number: tx.state for tx in self.outbox if tx.state != "applied"}
        stored: dict[object, dict[object, object]] = {}
        for row in self.phone.rows(
            "SELECT tx, key, was, now, o_store_id, o_u, o_name, o_qty, "
            "n_store_id, n_u, n_name, n_qty FROM holdfast_change_thing"
        ):
            stored.setdefault(row[0], {})[row[1]] = (bool(row[2]), bool(row[3]), row[4:8], row[8:])
        assert stored == {tx.number: tx.notes for tx in self.outbox if tx.state != "applied"}
        members = {key for _, key in self.phone.rows("SELECT scope, key FROM holdfast_member")}
        assert members == self.truth.keys()
        revs = dict(self.phone.rows("SELECT key, rev FROM holdfast_row"))
        assert revs == {key: self.revs[key] for key in self.truth}
        assert self.phone.rows("SELECT applying FROM holdfast_state") == [(0,)]


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
    ),
    min_size=1,
    max_size=4,
)
ROW = st.none() | st.tuples(STORES, US, NAMES, NUMBERS)
FATES = st.sampled_from(["applied", "applied", "refused", "held", "ignored"])
SCOPES = st.sampled_from(
    [ALL_SCOPES[:2], ALL_SCOPES[:2], ALL_SCOPES[:2], ALL_SCOPES[:1], ALL_SCOPES[1:2]]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("local"), LOCAL),
        st.tuples(st.just("local"), LOCAL),
        st.tuples(st.just("edit"), st.lists(st.tuples(IDS, ROW), min_size=1, max_size=5)),
        st.tuples(st.just("contest"), IDS, IDS, US, US),
        st.tuples(st.just("contest"), IDS, IDS, US, US),
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
            world.edit(key, ("s", str(number), "x", number))
        world.exchange([], world.scopes, False)
        for kind, *args in steps:
            if kind == "local":
                world.local(*args)
            elif kind == "edit":
                for key, row in args[0]:
                    world.edit(key, row)
            elif kind == "contest":
                world.contest(*args)
            else:
                world.exchange(*args)
        world.exchange([], world.scopes, False)
        # At rest: all is decided, nothing is left of the overlay.
        world.exchange(["refused"] * 100, ALL_SCOPES[:2], False)
        assert dump(phone.db.app, SCHEMA)["thing"] == world.truth
        assert phone.rows("SELECT * FROM holdfast_shadow_thing") == []


@pytest.mark.parametrize(("library", "examples"), [("apsw", 200), ("stdlib", 50)])
def test_visible_is_truth_with_the_unsettled_changes(library, examples):
    @settings(max_examples=examples, deadline=None)
    @given(STEPS)
    def run(steps):
        play(library, steps)

    run()


SAY = "exchange"
NOTHING: tuple[Any, ...] = (SAY, [], ALL_SCOPES[:2], False)


def write(text: str, *params: Any) -> tuple[Any, ...]:
    return ("local", [(text, params)])


STORIES: dict[str, list[tuple[Any, ...]]] = {
    "a local value meets news, waits, and comes back": [
        write("INSERT INTO thing (id, u) VALUES ('a', '1')"),
        ("edit", [("b", ("s", "1", "x", 0))]),
        NOTHING,
        ("edit", [("b", ("s", "2", "x", 0))]),
        NOTHING,
    ],
    "someone took what a change had freed, and the change is set aside": [
        ("edit", [("a", ("s", "1", "x", 0)), ("b", ("s", "2", "x", 0))]),
        NOTHING,
        write("UPDATE thing SET u = '3' WHERE id = 'b'"),
        write("INSERT INTO thing (id, u) VALUES ('c', '2')"),
        ("edit", [("a", ("s", "3", "x", 0))]),
        NOTHING,
        ("edit", [("a", ("s", "1", "x", 0))]),
        NOTHING,
    ],
    "a swap in one transaction, touched by news": [
        ("edit", [("a", ("s", "1", "x", 0)), ("b", ("s", "2", "x", 0))]),
        NOTHING,
        ("local", [
            ("UPDATE thing SET u = 'tmp' WHERE id = 'a'", ()),
            ("UPDATE thing SET u = '1' WHERE id = 'b'", ()),
            ("UPDATE thing SET u = '2' WHERE id = 'a'", ()),
        ]),
        ("edit", [("a", ("s", "1", "y", 5)), ("b", ("s", "2", "y", 5))]),
        NOTHING,
    ],
    "a chain: each takes what the next has freed": [
        ("edit", [("a", ("s", "1", "x", 0)), ("b", ("s", "2", "x", 0)), ("c", ("s", "3", "x", 0))]),
        NOTHING,
        write("UPDATE thing SET u = '4' WHERE id = 'c'"),
        write("UPDATE thing SET u = '3' WHERE id = 'b'"),
        write("UPDATE thing SET u = '2' WHERE id = 'a'"),
        ("edit", [("d", ("s", "4", "x", 0)), ("a", ("s", "1", "y", 1))]),
        NOTHING,
        ("edit", [("d", None)]),
        NOTHING,
    ],
    "a refused change of a row that later changes build on": [
        ("edit", [("a", ("s", None, "x", 10))]),
        NOTHING,
        write("UPDATE thing SET qty = qty - 1"),
        write("UPDATE thing SET qty = qty - 2, name = 'y'"),
        (SAY, ["refused"], ALL_SCOPES[:2], False),
        ("edit", [("a", ("s", None, "x", 7))]),
        NOTHING,
    ],
}  # fmt: skip


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
@pytest.mark.parametrize("name", STORIES)
def test_stories(name, library):
    play(library, STORIES[name])


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_the_later_change_yields(library):
    """Two changes want a value that the server took and gave back: the earlier one gets it."""
    with device(library, SCHEMA) as phone:
        world = World(phone)
        for key, value in (("a", "1"), ("c", "3")):
            world.edit(key, ("s", value, "x", 0))
        world.exchange([], world.scopes, False)
        world.local([("UPDATE thing SET u = '4' WHERE id = 'a'", ())])
        world.edit("d", ("s", "4", "x", 0))
        world.exchange([], world.scopes, False)
        assert world.held() == {(1, "a")}
        world.local([("UPDATE thing SET u = '5' WHERE id = 'd'", ())])
        world.local([("UPDATE thing SET u = '4' WHERE id = 'c'", ())])
        world.edit("a", ("s", "1", "y", 7))
        world.exchange([], world.scopes, False)
        assert world.held() == {(3, "c")}
        assert {key: row[1] for key, row in dump(phone.db.app, SCHEMA)["thing"].items()} == {
            "a": "4",
            "c": "3",
            "d": "5",
        }
        world.exchange(["refused"], world.scopes, False)
        assert world.held() == set()


def test_bases_are_json():
    """The bases of chained changes are plain revisions by column."""
    with device("apsw", SCHEMA) as phone:
        world = World(phone)
        world.edit("a", ("s", None, "x", 0))
        world.exchange([], world.scopes, False)
        world.local([("UPDATE thing SET name = 'y'", ())])
        world.edit("a", ("s", None, "x", 5))
        world.exchange([], world.scopes, False)
        world.local([("UPDATE thing SET name = 'z', qty = 9", ())])
        rows = phone.rows("SELECT base, bases FROM holdfast_change_thing ORDER BY tx")
        assert [(base, json.loads(str(bases or "{}"))) for base, bases in rows] == [
            (1, {}),
            (2, {"name": 1}),
        ]
