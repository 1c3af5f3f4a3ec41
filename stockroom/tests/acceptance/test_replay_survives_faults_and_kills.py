"""The replay of sales of our own: always; of real sales: where they are.

Checks I7, I12.
"""

from __future__ import annotations

import csv
import random
import shutil
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.postgres import PostgresCluster
from stockroom.replay.check import DeviceFile, check_files
from stockroom.schema import schema
from tests.acceptance.conftest import REAL_SALES, Run

pytestmark = pytest.mark.acceptance

FIELDS = {
    "database",
    "servers",
    "lines",
    "transactions",
    "faults",
    "server_kills",
    "device_kills",
    "expected_units",
    "server_units",
    "replicas_equal",
    "lost",
    "doubled",
    "conflicts",
    "refused",
    "devices",
    "ok",
    "seconds",
}
FAULTS = {"drop_before", "drop_after", "truncate", "reset"}

needs_real_sales = pytest.mark.skipif(
    not REAL_SALES.exists(), reason=f"the real sales are not there: {REAL_SALES}"
)


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    """600 lines of 150 invoices: SKUs that differ in case only, returns, equal lines."""
    rng = random.Random(11)
    path = tmp_path / "sales.csv"
    skus = [f"{number}{letter}" for number in range(20) for letter in ("", "a", "A", " ")]
    with path.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["invoice", "sku", "description", "quantity", "time", "unit_price"])
        for invoice in range(150):
            for _ in range(4):
                sku = rng.choice(skus)
                price = rng.choice(["0", "0.85", "12.5", "3"])
                row = [invoice, sku, f"Thing {sku}", rng.choice([1, 2, 12, -1]), price]
                row.insert(4, "2010-12-01T08:26:00Z")
                rows.writerow(row)
                if rng.random() < 0.05:
                    rows.writerow(row)
    return path


def check_report(report: dict[str, Any], *, devices: int, servers: int = 1) -> None:
    assert set(report) == FIELDS
    assert set(report["faults"]) == FAULTS
    assert sum(report["faults"].values()) > 0
    assert report["servers"] == servers
    assert report["server_kills"] >= 2 * servers
    assert report["device_kills"] >= 2
    assert report["expected_units"] == report["server_units"]
    assert report["replicas_equal"] is True
    assert (report["lost"], report["doubled"]) == (0, 0)
    assert (report["conflicts"], report["refused"]) == (0, 0)
    assert [device["pending"] for device in report["devices"]] == [0] * devices


def test_a_replay_of_invented_sales(run: Run, sales: Path, tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    ran = run(
        "replay", sales, "--devices", 5, "--stores", 2, "--cut", 0.4, "--seed", 3,
        "--keep", keep, "--json",
    )  # fmt: skip
    report = ran.document
    assert (ran.code, report["ok"]) == (0, True), ran.err
    check_report(report, devices=5)
    assert report["transactions"] == 150
    scopes = [device["scopes"] for device in report["devices"]]
    assert scopes == [["catalog", f"store/{number % 2 + 1}"] for number in range(5)]
    names = sorted(path.name for path in keep.iterdir())
    assert names == [*(f"device-{number}.db" for number in range(5)), "server.db"]
    check_sums(sales, keep / "server.db")
    check_that_the_check_sees(sales, keep, tmp_path)


def test_a_replay_on_postgres_with_two_servers_killed_in_turn(
    run: Run, sales: Path, postgres_cluster: PostgresCluster, tmp_path: Path
) -> None:
    keep, database = tmp_path / "kept", postgres_cluster.make_database()
    arguments = (
        "replay", sales, "--database", database, "--devices", 4, "--stores", 2, "--cut", 0.3,
        "--seed", 5, "--json",
    )  # fmt: skip
    ran = run(*arguments, "--keep", keep)
    report = ran.document
    assert (ran.code, report["ok"]) == (0, True), ran.err
    check_report(report, devices=4, servers=2)
    assert report["database"] == "postgresql"
    check_sums(sales, keep / "server.db")
    again = run(*arguments)
    assert again.code == 2
    assert "holds a server's data already" in again.document["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--database", "server.db"), "is a postgresql:// address"),
        (("--servers", "2"), "1 on SQLite"),
        (("--database", "postgresql://nobody@127.0.0.1:1/none"), "cannot be used"),
    ],
)
def test_wrong_use(run: Run, sales: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = run("replay", sales, *arguments)
    assert ran.code == 2
    assert said in " ".join(ran.err.split())


ONCE_MORE = """
INSERT INTO movement
SELECT '00000000-0000-4000-8000-000000000000', product_id, location_id, store_id, quantity, kind,
    reason, document, person, device, occurred_at, note, reverses, delivery_id
FROM movement LIMIT 1
"""
SPOILED: tuple[tuple[str, str, set[str]], ...] = (
    ("server.db", "DELETE FROM movement WHERE rowid = 7", {"lost", "units", "unequal"}),
    (
        "server.db",
        "UPDATE movement SET quantity = quantity + 1 WHERE rowid = 7",
        {"lost", "doubled", "units", "unequal"},
    ),
    ("server.db", ONCE_MORE, {"doubled", "units", "unequal"}),
    ("device-1.db", "UPDATE product SET name = name || ' ' WHERE rowid = 3", {"unequal"}),
    ("device-1.db", "DELETE FROM location", {"unequal"}),
    (
        "device-2.db",
        "UPDATE movement SET occurred_at = occurred_at + 1 WHERE rowid = 2",
        {"unequal"},
    ),
    ("device-0.db", "UPDATE stock_on_hand SET quantity = 0 WHERE quantity <> 0", set()),
    ("device-0.db", "DELETE FROM replay_progress WHERE position = 3", set()),
)
"""A fault planted in one file, and what the check must see besides saying so in words."""


def check_that_the_check_sees(sales: Path, keep: Path, tmp_path: Path) -> None:
    for number, (name, sql, wanted) in enumerate(SPOILED):
        folder = tmp_path / f"spoiled-{number}"
        shutil.copytree(keep, folder)
        with closing(sqlite3.connect(folder / name)) as db, db:
            db.execute("UPDATE holdfast_state SET applying = 1")
            assert db.execute(sql).rowcount >= 1, sql
        findings = check_files(
            sales,
            lines=10_000,
            schema=schema,
            server=folder / "server.db",
            devices=[
                DeviceFile(
                    path=folder / f"device-{number}.db",
                    scopes=("catalog", f"store/{number % 2 + 1}"),
                )
                for number in range(5)
            ],
        )
        assert findings.problems, sql
        seen = {
            "lost": findings.lost > 0,
            "doubled": findings.doubled > 0,
            "units": findings.expected_units != findings.server_units,
            "unequal": not findings.replicas_equal,
        }
        assert {what for what, found in seen.items() if found} == wanted, sql


def check_sums(sales: Path, server: Path) -> None:
    """Every product's sum, and price and description of its first line, counted here once more."""
    sums: Counter[str] = Counter()
    first: dict[str, tuple[str, int]] = {}
    with sales.open(newline="") as text:
        for row in csv.DictReader(text):
            sums[row["sku"]] -= int(row["quantity"])
            price = round(float(row["unit_price"]) * 100)
            first.setdefault(row["sku"], (row["description"], price))
    with closing(sqlite3.connect(server)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        found = db.execute(
            "SELECT p.sku, sum(m.quantity), p.description, p.price FROM product AS p "
            "JOIN movement AS m ON m.product_id = p.id WHERE m.kind <> 'opening' GROUP BY p.id"
        ).fetchall()
    assert {sku: total for sku, total, _, _ in found} == dict(sums)
    assert {sku: (text, price) for sku, _, text, price in found} == first
    assert len(found) == len(sums)


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="no sqlite3 shell on this machine")
def test_the_sqlite3_shell_reads_what_is_kept(run: Run, sales: Path, tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    ran = run(
        "replay", sales, "--devices", 4, "--stores", 1, "--lines", 100, "--keep", keep, "--json"
    )
    assert ran.code == 0, ran.err
    sql = (
        "SELECT count(*) FROM movement JOIN product ON product.id = movement.product_id "
        "WHERE kind <> 'opening' AND location_id <> '' AND store_id = '1'"
    )
    for name in ("server.db", "device-0.db", "device-3.db"):
        shell = subprocess.run(
            ["sqlite3", str(keep / name), sql], capture_output=True, text=True, check=True
        )
        assert shell.stdout.strip() == "100"
    again = run("replay", sales, "--keep", keep, "--json")
    assert again.code == 2
    assert "holds databases already" in again.err


@needs_real_sales
def test_a_replay_of_2000_real_lines(run: Run) -> None:
    ran = run(
        "replay", REAL_SALES, "--devices", 4, "--stores", 2, "--lines", 2000, "--seed", 2, "--json"
    )
    assert ran.code == 0, ran.err
    check_report(ran.document, devices=4)
    assert ran.document["lines"] == 2000


@pytest.mark.slow
@needs_real_sales
def test_a_replay_of_20000_real_lines(run: Run) -> None:
    ran = run(
        "replay", REAL_SALES, "--devices", 6, "--stores", 3, "--lines", 20_000, "--cut", 0.3,
        "--seed", 1, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    check_report(ran.document, devices=6)
    assert (ran.document["lines"], ran.document["transactions"]) == (20_000, 938)
