"""Both server stores that Holdfast brings pass the suite that it ships."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.schema.model import Schema
from holdfast.server.store import Store
from holdfast.server.stores import open_store
from holdfast.testing.store_conformance import StoreConformance


class TestSqlite(StoreConformance):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[Schema], Store]:
        draw = random.Random(1).randbytes
        return lambda schema: open_store(schema, tmp_path / "server.db", random_bytes=draw)


class TestPostgres(StoreConformance):
    @pytest.fixture
    def opened(self, postgres_url: str) -> Callable[[Schema], Store]:
        draw = random.Random(1).randbytes
        return lambda schema: open_store(schema, postgres_url, random_bytes=draw)
