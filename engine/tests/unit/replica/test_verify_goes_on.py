"""A server that looks at few rows a request is asked until it has looked at all."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.protocol.messages import VerifyRequest
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

SCHEMA = Schema(
    name="many",
    tables=(
        Table(name="item", key=("id",), columns=(Column("id"), Column("name")), scopes=("all",)),
        Table(name="thing", key=("id",), columns=(Column("id"), Column("name")), scopes=("b",)),
    ),
)
WHO = Principal(device="one", user="one", write=("all", "b"))
NOW = 1_790_000_000_000_000


class Counted(MemoryTransport):
    """Counts the questions."""

    verified = 0

    def verify(self, request: VerifyRequest, echo: str) -> SpooledAnswer:
        self.verified += 1
        return super().verify(request, echo)


@pytest.mark.parametrize("rows_max", [7, 70, 1000])
def test_all_damage_is_found_however_little_a_request_may_cost(
    tmp_path: Path, rows_max: int
) -> None:
    store = SqliteStore.open(str(tmp_path / "s.db"), SCHEMA, random_bytes=secrets.token_bytes)
    service = Service(
        SCHEMA,
        store,
        now_us=lambda: NOW,
        random_bytes=secrets.token_bytes,
        budgets=Budgets(verify_rows_max=rows_max),
    ).begin()
    wire = Counted(service, WHO, now_us=lambda: NOW)
    replica = Replica.open(tmp_path / "r.db", SCHEMA, transport=wire)
    try:
        rows = [(f"i{n:03}", f"name {n}") for n in range(300)]
        with replica.transaction() as db:
            for row in rows:
                db.execute("INSERT INTO item VALUES (?, ?)", row)
                db.execute("INSERT INTO thing VALUES (?, ?)", row)
        replica.sync()
        lost: list[Any] = ["i003", "i150", "i299"]
        lose(tmp_path / "r.db", lost)
        report = replica.verify(deep=False)
        assert report.ok
        assert report.repaired == 2 * len(lost)
        assert replica.query("SELECT * FROM item ORDER BY id") == rows
        assert replica.query("SELECT * FROM thing ORDER BY id") == rows
        assert wire.verified > 600 // rows_max
    finally:
        replica.close()
        service.close()


def lose(path: Path, keys: list[str]) -> None:
    """Rows go from a replica's tables and records, as by a bad disk; its sum knows nothing."""
    from holdfast.sqlite import OpenOptions, driver

    db = driver().connect(str(path), OpenOptions(synchronous="OFF"))
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE holdfast_state SET applying = 1")
    for key in keys:
        db.execute("DELETE FROM item WHERE id = ?", (key,))
        db.execute("DELETE FROM thing WHERE id = ?", (key,))
        for table in ("holdfast_member", "holdfast_row"):
            db.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
    db.execute("UPDATE holdfast_scope SET count = count - ?, digest = ?", (len(keys), "0" * 32))
    db.execute("UPDATE holdfast_state SET applying = 0")
    db.execute("COMMIT")
    db.close()
