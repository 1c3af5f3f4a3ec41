"""Both server stores that Holdfast brings pass the suite that it ships."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.schema.model import Schema
from holdfast.server.open_store import open_store
from holdfast.server.store.contract import Store
from holdfast.sqlite.stdlib_driver import WAL_SAFE_SINCE
from holdfast.testing.conformance.store import StoreConformance


class TestSqlite(StoreConformance):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[Schema], Store]:
        draw = random.Random(1).randbytes
        return lambda schema: open_store(schema, tmp_path / "server.db", random_bytes=draw)


class TestSqliteOfPython(StoreConformance):
    """With the library that ORMs use."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[Schema], Store]:
        draw = random.Random(1).randbytes
        path = tmp_path / "server.db"
        return lambda schema: open_store(schema, path, random_bytes=draw, driver_name="stdlib")

    def test_a_snapshot_is_one_moment(self, store: Store) -> None:
        if sqlite3.sqlite_version_info < WAL_SAFE_SINCE:
            pytest.skip("with a rollback journal the writer waits until the snapshot is closed")
        super().test_a_snapshot_is_one_moment(store)


class TestPostgres(StoreConformance):
    @pytest.fixture
    def opened(self, postgres_url: str) -> Callable[[Schema], Store]:
        draw = random.Random(1).randbytes
        return lambda schema: open_store(schema, postgres_url, random_bytes=draw)
