"""A server's database grows by numbered scripts, from whichever version made it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from holdfast.core.errors import SchemaError
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.open_store import open_store
from holdfast.server.store.contract import Store
from holdfast.server.store.migration_scripts import Dialect, MigrationScript, missing
from holdfast.server.store.sqlite import store as sqlite_store

SCHEMA = Schema(
    name="shop",
    tables=(Table(name="item", key=("id",), columns=(Column("id"),), scopes=("all",)),),
)


def opened(path: Path) -> Store:
    return open_store(SCHEMA, path, random_bytes=random.Random(1).randbytes)


def numbers(path: Path) -> list[int]:
    with sqlite3.connect(path) as db:
        found = [n for (n,) in db.execute("SELECT number FROM holdfast_migration ORDER BY number")]
    db.close()
    return found


def change(path: Path, sql: str) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(sql)
    db.close()


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_numbers_are_without_gaps(dialect: Dialect) -> None:
    scripts = missing(dialect, [])
    assert [script.number for script in scripts] == list(range(1, len(scripts) + 1))


def test_a_new_database_has_seen_all_scripts(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    opened(path).close()
    assert numbers(path) == [script.number for script in missing("sqlite", [])]


def test_a_database_grows_by_the_scripts_that_it_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.db"
    store = opened(path)
    epoch = store.epoch
    store.close()
    first = missing("sqlite", [])
    number = len(first) + 1
    more = MigrationScript(
        number, "later.sql", "CREATE TABLE holdfast_later (a); CREATE TABLE other (b);"
    )

    def with_more(dialect: Dialect, done: Iterable[int]) -> list[MigrationScript]:
        seen = set(done)
        return [script for script in (*first, more) if script.number not in seen]

    monkeypatch.setattr(sqlite_store, "missing", with_more)
    for _ in range(2):
        store = opened(path)
        assert store.epoch == epoch
        store.close()
    assert numbers(path) == [*range(1, number), number]
    change(path, "INSERT INTO holdfast_later VALUES (1); INSERT INTO other VALUES (1);")


def test_a_database_of_a_newer_engine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    opened(path).close()
    change(path, "INSERT INTO holdfast_migration (number, name) VALUES (9999, 'later')")
    with pytest.raises(SchemaError) as caught:
        opened(path)
    assert caught.value.code == "schema_mismatch"
