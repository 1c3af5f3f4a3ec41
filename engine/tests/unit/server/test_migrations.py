"""A server's database grows by numbered scripts, from whichever version made it."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from holdfast.core.errors import SchemaError
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.open_store import open_store
from holdfast.server.store.contract import Store
from holdfast.server.store.migration_scripts import Dialect, missing
from holdfast.sql.server import create_user_table

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


def test_a_database_from_before_scripts_were_counted_grows(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    first, *later = missing("sqlite", [])
    with sqlite3.connect(path) as db:
        db.executescript(first.sql)
        for table in SCHEMA.all_tables:
            for sql in create_user_table(table):
                db.execute(sql)
        db.execute(
            "INSERT INTO holdfast_state (id, epoch, seal_secret, fingerprint, schema) "
            "VALUES (1, 'before', x'00', ?, ?)",
            (SCHEMA.fingerprint, SCHEMA.to_json().decode()),
        )
    db.close()
    store = opened(path)
    assert store.epoch == "before"
    store.close()
    assert numbers(path) == [1, *(script.number for script in later)]


def test_a_database_of_a_newer_engine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    opened(path).close()
    change(path, "INSERT INTO holdfast_migration (number, name) VALUES (9999, 'later')")
    with pytest.raises(SchemaError) as caught:
        opened(path)
    assert caught.value.code == "schema_mismatch"
