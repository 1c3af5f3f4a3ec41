"""An ORM that knows nothing of Holdfast writes a replica and the server's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, insert, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance


class Base(DeclarativeBase):
    """The app's models."""


class Stock(Base):
    """The counter example's table."""

    __tablename__ = "stock"

    sku: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int | None]
    on_hand: Mapped[int]


@contextmanager
def orm(path: Path) -> Iterator[Session]:
    """A session of the ORM, committed at the end; its SQLite is Python's own."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    try:
        with Session(engine) as session:
            yield session
            session.commit()
    finally:
        engine.dispose()


def test_on_a_replica_that_the_same_process_has_open(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    with a.opened(driver_name="stdlib") as replica:
        with orm(a.file) as session:
            session.add(Stock(sku="mug", name="Mug", price=850, on_hand=10))
            session.add(Stock(sku="cup", name="Cup", price=None, on_hand=4))
        replica.sync()
        with orm(a.file) as session:
            mug = session.get_one(Stock, "mug")
            mug.on_hand -= 1
            session.delete(session.get_one(Stock, "cup"))
            session.merge(Stock(sku="pot", name="Pot", price=1200, on_hand=1))
            session.execute(insert(Stock), [{"sku": f"s{n}", "name": "", "on_hand": n}
                                            for n in range(50)])  # fmt: skip
            session.execute(update(Stock).where(Stock.sku.like("s%")).values(name="bulk"))
        assert replica.status.pending == 1
        with orm(a.file) as session:
            session.add(Stock(sku="never", name="", on_hand=1))
            session.flush()
            session.rollback()
        assert replica.sync().verified
    b.sync()
    assert b.query("SELECT on_hand FROM stock WHERE sku = 'mug'") == [(9,)]
    assert b.query("SELECT count(*), sum(on_hand) FROM stock WHERE name = 'bulk'") == [(50, 1225)]
    assert b.query("SELECT sku FROM stock WHERE sku IN ('cup', 'never')") == []
    world.check_equal(a, b)


def test_on_the_servers_database(world: World) -> None:
    a = world.device("a", "token-a")
    a.shell("INSERT INTO stock (sku, name, on_hand) VALUES ('mug', 'Mug', 10)")
    a.sync()
    with orm(world.database) as session:
        session.get_one(Stock, "mug").price = 900
        session.add(Stock(sku="pot", name="Pot", price=1200, on_hand=3))

    def arrived() -> bool:
        a.sync()
        return a.query("SELECT sku, price FROM stock ORDER BY sku") == [("mug", 900), ("pot", 1200)]

    wait_until(arrived, what="what the back office wrote")
    world.check_equal(a)
