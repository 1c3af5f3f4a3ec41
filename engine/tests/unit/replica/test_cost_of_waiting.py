"""What a look and an exchange cost does not grow with what waits, and is counted truly.

Cost is counted in steps of SQLite's machine: the same on every computer, however busy.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast import Column, ForeignKey, Replica, Schema, Table
from holdfast.replica.changes import outbox
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.storage.database import transaction
from holdfast.server import Principal, open_server
from holdfast.server.push.rules import RuleContext
from holdfast.sqlite import Connection

STEP = 100

SCHEMA = Schema(
    name="shop",
    tables=tuple(
        Table(
            name=name,
            key=("id",),
            scopes=("all",),
            columns=(Column("id"), Column("name", default="")),
        )
        for name in ("item", "other")
    ),
)

PLAIN = Schema(
    name="plain",
    tables=(
        Table(
            name="row",
            key=("id",),
            scopes=("all",),
            columns=(
                Column("id"),
                Column("name", default=""),
                Column("once", default=""),
                Column("qty", "integer", merge="counter"),
            ),
        ),
    ),
)

UNIQUE = Schema(
    name="unique",
    tables=(
        Table(
            name="item",
            key=("id",),
            scopes=("all",),
            unique=(("code",),),
            existence_public=True,
            columns=(Column("id"), Column("code"), Column("name", default="")),
        ),
    ),
)

LEDGER = Schema(
    name="ledger",
    tables=(
        Table(
            name="product",
            key=("id",),
            scopes=("all",),
            columns=(Column("id"), Column("qty", "integer", merge="counter")),
        ),
        Table(
            name="line",
            key=("id",),
            scopes=("all",),
            columns=(Column("id"), Column("product")),
            foreign_keys=(ForeignKey(("product",), "product"),),
        ),
    ),
)


def no_bad_names(transaction: RuleContext) -> None:
    for change in transaction.changes:
        if change.new and str(change.new.get("name", "")).startswith("bad"):
            transaction.refuse("bad_name", "not that name")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    number = itertools.count()
    server = open_server(
        SCHEMA, tmp_path / "s.db", lambda _: None, rules=[no_bad_names], maintain=False
    )
    made: list[Replica] = []

    def make(schema: Schema = SCHEMA, *, connected: bool = True) -> Replica:
        name = f"d{next(number)}"
        principal = Principal("ann", name, write=("all",))
        replica = Replica.open(
            tmp_path / f"{name}.db",
            schema,
            transport=MemoryTransport(server.service, principal) if connected else None,
            synchronous="OFF",
        )
        made.append(replica)
        return replica

    yield make
    for replica in made:
        replica.close()
    server.close()


def add(replica: Replica, key: str, *, table: str = "item", name: str = "") -> None:
    with replica.transaction() as db:
        db.execute(
            f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = name || 'x'",
            [key, name],
        )


def inner(connection: Connection) -> Any:
    """The connection of the library's driver below the one that records."""
    return getattr(connection, "inner", connection)


@contextmanager
def counted(connection: Connection) -> Iterator[list[int]]:
    """Steps of SQLite's machine, in hundreds, on one connection."""
    steps = [0]

    def more() -> bool:
        steps[0] += 1
        return False

    raw = inner(connection)._db
    raw.set_progress_handler(more, STEP)
    try:
        yield steps
    finally:
        raw.set_progress_handler(None)


@contextmanager
def traced(connection: Connection) -> Iterator[list[str]]:
    """The statements that run on one connection."""
    ran: list[str] = []

    def note(_cursor: object, sql: str, _params: object) -> bool:
        ran.append(sql)
        return True

    raw = inner(connection)._db
    raw.exec_trace = note
    try:
        yield ran
    finally:
        raw.exec_trace = None


@pytest.mark.slow
def test_what_is_counted_is_what_is_there(opened: Callable[..., Replica]) -> None:
    replica, draw = opened(), random.Random(7)
    seen: set[str] = set()
    for _ in range(60):
        act = draw.random()
        if act < 0.6:
            name = draw.choice(["good", "good", "bad"])
            add(replica, str(draw.randrange(12)), table=draw.choice(["item", "other"]), name=name)
        elif act < 0.75:
            replica.seal()
        elif act < 0.85:
            for item in replica.refused()[:1]:
                replica.discard(item.id)
        else:
            replica.sync()
        status = replica.status
        by_state: Any = replica.query(
            "SELECT state, count(DISTINCT tx) FROM holdfast_pending GROUP BY state"
        )
        counts: dict[str, int] = dict(by_state)
        by_state = replica.query("SELECT state, count(*) FROM holdfast_tx GROUP BY state")
        settled: dict[str, int] = dict(by_state)
        assert (status.pending, status.sent) == (counts.get("pending", 0), counts.get("sent", 0))
        assert (status.held, status.refused) == (settled.get("held", 0), settled.get("refused", 0))
        ((changes,),) = replica.query("SELECT count(*) FROM holdfast_pending WHERE state <> 'held'")
        assert status.pending_changes == changes
        assert (status.oldest_pending_at is None) == (status.pending + status.sent == 0)
        for table, key, state in replica.query("SELECT tbl, key, state FROM holdfast_row_status"):
            assert replica.row_status(str(table), str(key)) == state
            seen.add(str(state))
        assert replica.row_status("item", "nobody") == "unknown"
        assert replica.row_status("nothing", "1") == "unknown"
    assert {"synced", "pending", "refused"} <= seen


def _waiting(opened: Callable[..., Replica], number: int) -> Replica:
    replica = opened()
    for key in range(number):
        add(replica, str(key))
    replica.seal()
    return replica


def test_a_look_costs_the_same_with_much_waiting(opened: Callable[..., Replica]) -> None:
    looks: dict[str, Callable[[Replica], object]] = {
        "row_status": lambda replica: replica.row_status("item", "3"),
        "has_work": lambda replica: replica._syncing.known(),
        "status": lambda replica: replica.status,
    }
    costs: dict[str, list[int]] = {name: [] for name in looks}
    for number in (100, 2000):
        replica = _waiting(opened, number)
        for name, look in looks.items():
            look(replica)
            with counted(replica._database.app) as steps:
                for _ in range(20):
                    look(replica)
            costs[name].append(steps[0])
    for few, many in costs.values():
        assert many <= few + 2, costs


@pytest.mark.slow
def test_an_exchange_costs_what_it_carries(
    opened: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PUSH_TRANSACTIONS_MAX", 20)
    costs = []
    for number in (200, 3000):
        replica = _waiting(opened, number)
        with closing(opened()) as other:
            add(other, f"news {number}", table="other")
            other.sync()
        exchanger = replica._syncing._exchanger
        assert exchanger is not None
        exchanger.exchange()  # the first brings the scope
        with counted(replica._database.sync) as steps:
            for _ in range(3):
                assert exchanger.exchange().sent == 20
        costs.append(steps[0])
    few, many = costs
    assert many <= few * 1.2 + 2, costs


@pytest.mark.slow
def test_an_exchange_asks_only_the_tables_that_it_concerns(
    opened: Callable[..., Replica], tmp_path: Path
) -> None:
    """Statements, not their time: of two hundred tables one has something to send, and news."""
    said, applied = [], []
    for tables in (2, 190):
        names = tuple(f"t{number}" for number in range(tables))
        columns = (Column("id"), Column("name", default=""))
        schema = Schema(
            name="wide",
            tables=tuple(
                Table(name=n, key=("id",), scopes=("all",), columns=columns) for n in names
            ),
        )
        replica = opened(schema, connected=False)
        add(replica, "1", table="t0")
        replica.seal()
        sync = replica._database.sync
        with transaction(sync), traced(sync) as ran:
            batch = outbox.next_batch(sync, replica.schema, replica._database.program)
        assert [len(sent.changes) for sent in batch] == [1]
        said.append(len(ran))
        with closing(open_server(schema, tmp_path / f"wide{tables}.db", lambda _: None)) as server:
            transport = MemoryTransport(server.service, Principal("ann", "w", write=("all",)))
            with Replica.open(
                tmp_path / f"wide{tables}-device.db", schema, transport=transport
            ) as device:
                device.sync()
                add(device, "1", table="t1")
                device.seal()
                with traced(device._database.sync) as ran:
                    device.sync()
                applied.append(len(ran))
                assert device.query("SELECT tbl FROM holdfast_noted") == [("t1",)]
                device.sync()
                assert device.query("SELECT tbl FROM holdfast_noted") == [], "nothing is left of it"
    assert said[0] == said[1], said
    assert applied[0] == applied[1] < 100, applied


def test_a_seal_costs_the_same_however_many_unique_values_wait(
    opened: Callable[..., Replica],
) -> None:
    """Inserts, edits and values that were given up wait, and have nothing to do with this one."""
    costs = []
    for number in (20, 1000):
        replica = opened(UNIQUE, connected=False)
        with replica.transaction() as db:
            db.executemany(
                "INSERT INTO item VALUES (?, ?, '')", [(f"i{n}", f"c{n}") for n in range(number)]
            )
        with replica.transaction() as db:
            db.execute("UPDATE item SET name = 'x'")
        with replica.transaction() as db:
            db.execute("UPDATE item SET code = code || '-'")
        replica.seal()
        with counted(replica._database.app) as steps:
            for turn in range(20):
                with replica.transaction() as db:
                    db.execute("INSERT INTO item VALUES (?, ?, '')", [f"m{turn}", f"m{turn}"])
                replica.seal()
        costs.append(steps[0])
        with replica.transaction() as db:
            db.execute("INSERT INTO item VALUES ('taken', 'c7', '')")
        replica.seal()
        after = replica.query("SELECT after FROM holdfast_tx ORDER BY number DESC LIMIT 1")
        assert after == [("[3]",)], "it takes a value that the third transaction gave up"
    few, many = costs
    assert many <= few * 1.2 + 2, costs


def test_a_write_and_its_seal_cost_the_same_after_many_of_the_row(
    opened: Callable[..., Replica],
) -> None:
    """A row that is changed a thousand times, by an app that seals each change."""
    costs = []
    for number in (20, 1000):
        replica = opened(PLAIN, connected=False)
        with replica.transaction() as db:
            db.execute("INSERT INTO row VALUES ('a', '', '', 0)")
        with replica.transaction() as db:
            db.execute("UPDATE row SET once = 'chosen'")
        for turn in range(number):
            with replica.transaction() as db:
                db.execute(f"UPDATE row SET qty = qty - 1, name = 'n{turn}'")
            if turn % 100 == 0:
                replica.seal()
        replica.seal()
        with counted(replica._database.app) as steps:
            for turn in range(20):
                with replica.transaction() as db:
                    db.execute(f"UPDATE row SET qty = qty + 1, name = 'm{turn}'")
                replica.seal()
        costs.append(steps[0])
    few, many = costs
    assert many <= few * 1.2 + 2, costs


def test_a_reference_costs_the_same_after_many_changes_of_the_row_it_names(
    opened: Callable[..., Replica],
) -> None:
    """As a ledger does: each line changes its product, too."""
    costs = []
    for number in (20, 1000):
        replica = opened(LEDGER, connected=False)
        with replica.transaction() as db:
            db.execute("INSERT INTO product VALUES ('p', 0)")
        for line in range(number):
            with replica.transaction() as db:
                db.execute("INSERT INTO line VALUES (?, 'p')", [f"l{line}"])
                db.execute("UPDATE product SET qty = qty - 1")
        replica.seal()
        with counted(replica._database.app) as steps:
            for line in range(20):
                with replica.transaction() as db:
                    db.execute("INSERT INTO line VALUES (?, 'p')", [f"m{line}"])
                    db.execute("UPDATE product SET qty = qty - 1")
                replica.seal()
        costs.append(steps[0])
        afters = replica.query("SELECT DISTINCT after FROM holdfast_tx WHERE number > 1")
        assert afters == [("[1]",)], "each line rests on the product's insert, and on nothing else"
    few, many = costs
    assert many <= few * 1.2 + 2, costs
