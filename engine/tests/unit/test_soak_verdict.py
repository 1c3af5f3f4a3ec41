"""The soak's verdict can tell: each kind of wrong, planted in tables or ledgers, is found."""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SOAK = Path(__file__).parents[2] / "soak"


@pytest.fixture(scope="module")
def soak() -> SimpleNamespace:
    """Its modules, which are scripts beside one another."""
    names = ("shop", "ledger", "database", "stand", "verdict")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SOAK))
        for name in names:
            patch.delitem(sys.modules, name, raising=False)
        found = SimpleNamespace(**{name: import_module(name) for name in names})
        for name in names:
            del sys.modules[name]
    return found


class Scene:
    """A server, a replica and a ledger after a day on which nothing went wrong."""

    def __init__(self, soak: SimpleNamespace, folder: Path) -> None:
        self.soak = soak
        self.server, self.replica = folder / "server.db", folder / "device.db"
        self.ledger = folder / "device.ledger"
        notes = soak.ledger.Ledger(self.ledger)
        statements = list(soak.shop.opening())
        for number in range(1, 9):
            id_, parcel = f"d-{number}", f"d-{number}/p"
            statements += soak.shop.sale(id_, "north", random.Random(number))
            statements.append(soak.shop.parcel(parcel, "north"))
            notes.note("sale", id=id_, bad=False, parcel=parcel)
            notes.note("done", of="sale", id=id_, parcel=parcel, us=1)
            notes.note("acknowledged", ids=[id_] if number < 6 else [], us=[1])
        notes.note("gone", id="d-1/p")
        notes.note("done", of="gone", id="d-1/p", parcel="", us=1)
        statements.append(soak.shop.deletion("d-1/p"))
        notes.note("sale", id="d-20", bad=True, parcel="")
        notes.note("done", of="sale", id="d-20", parcel="", us=1)
        notes.note("refused", slips=["d-20"], code="bad", message="such a slip is not taken")
        notes.note("sale", id="d-21", bad=False, parcel="")  # killed before or after its commit
        notes.close()
        columns = soak.verdict.COLUMNS.items()
        for path in (self.server, self.replica):
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA synchronous = OFF")
                for table, names in columns:
                    db.execute(f"CREATE TABLE {table} ({names})")
                for sql, params in statements:
                    db.execute(sql, params)
                db.commit()

    def problems(self) -> list[str]:
        device = SimpleNamespace(name="d", file=self.soak.database.SqliteFile(self.replica))
        stand = SimpleNamespace(
            name="SQLite", database=self.soak.database.SqliteFile(self.server), devices=[device],
            sees=lambda _: self.soak.shop.STORES,
        )  # fmt: skip
        return list(self.soak.verdict.problems(stand, [self.soak.ledger.read(self.ledger)]))

    def everywhere(self, *sql: str) -> None:
        self.at(self.server, *sql)
        self.at(self.replica, *sql)

    @staticmethod
    def at(path: Path, *sql: str) -> None:
        with closing(sqlite3.connect(path)) as db:
            for text in sql:
                assert db.execute(text).rowcount != 0, text
            db.commit()

    def note(self, kind: str, **more: Any) -> None:
        notes = self.soak.ledger.Ledger(self.ledger)
        notes.note(kind, **more)
        notes.close()


@pytest.fixture
def scene(soak: SimpleNamespace, tmp_path: Path) -> Scene:
    return Scene(soak, tmp_path)


def lose(scene: Scene, id_: str) -> None:
    scene.everywhere(
        "UPDATE purse SET balance = balance - (SELECT coalesce(sum(amount), 0) FROM entry "
        f"WHERE entry.purse = purse.id AND slip = '{id_}')",
        f"DELETE FROM entry WHERE slip = '{id_}'",
        f"DELETE FROM slip WHERE id = '{id_}'",
    )


CONFLICT = "INSERT INTO holdfast_conflict VALUES ('c', 'card', 'card-1', 'price', 'd', 'open')"
A_SLIP = "INSERT INTO slip VALUES ('{}', 'north', 0, 0, '')"

WRONGS: dict[str, Callable[[Scene], None]] = {
    "acknowledged, and lost: d-2": lambda scene: lose(scene, "d-2"),
    "committed, and lost: d-7": lambda scene: lose(scene, "d-7"),
    "a sale is there in part: d-3": lambda s: s.everywhere("DELETE FROM entry WHERE id = 'd-3/0'"),
    "entries of no slip: d-3": lambda s: s.everywhere("DELETE FROM slip WHERE id = 'd-3'"),
    "purse north-1 holds": lambda s: s.everywhere(
        "UPDATE purse SET balance = balance + 2 WHERE id = 'north-1'"
    ),
    "nobody made it: x-1": lambda s: s.everywhere(A_SLIP.format("x-1")),
    "refused by a rule, and there: d-20": lambda s: s.everywhere(A_SLIP.format("d-20")),
    "a parcel that nobody deleted is gone: d-2/p": lambda s: s.everywhere(
        "DELETE FROM parcel WHERE id = 'd-2/p'"
    ),
    "a parcel that was deleted is back: d-1/p": lambda s: s.everywhere(
        "INSERT INTO parcel VALUES ('d-1/p', 'north')"
    ),
    "d: card differs": lambda s: s.at(s.replica, "UPDATE card SET price = 7 WHERE id = 'card-1'"),
    "d: slip differs": lambda s: s.at(s.replica, "UPDATE slip SET note = 'x' WHERE id = 'd-4'"),
    "is open at rest": lambda s: s.everywhere(CONFLICT),
    "refused for no reason: d-4": lambda s: s.note(
        "refused", slips=["d-4"], code="row_gone", message=""
    ),
    "refused for no reason: no slip": lambda s: s.note(
        "refused", slips=[], code="unique", message=""
    ),
    "d: database_busy": lambda s: s.note("trouble", message="d: database_busy"),
}


def test_a_good_day_has_no_problems(scene: Scene) -> None:
    assert scene.problems() == []


def test_a_commit_that_may_have_happened_may_be_there(scene: Scene) -> None:
    scene.everywhere(A_SLIP.format("d-21"))
    assert scene.problems() == []


def test_a_line_that_was_cut_by_a_kill_was_never_written(scene: Scene) -> None:
    with scene.ledger.open("ab") as ledger:
        ledger.write(b'{"kind": "done", "of": "sale", "id": "d-2')
    scene.note("life")
    assert scene.problems() == []
    assert scene.soak.ledger.read(scene.ledger).lives == 1


@pytest.mark.parametrize("words", WRONGS)
def test_each_kind_of_wrong_is_found(scene: Scene, words: str) -> None:
    WRONGS[words](scene)
    found = scene.problems()
    assert any(words in problem for problem in found), found


def test_a_refusal_that_was_not_told_is_found(scene: Scene) -> None:
    scene.note("sale", id="d-30", bad=True, parcel="")
    scene.note("done", of="sale", id="d-30", parcel="", us=1)
    assert any("refused, and not told: d-30" in problem for problem in scene.problems())
