from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.testing import ServerProcess
from tests.acceptance.conftest import Run

pytestmark = pytest.mark.acceptance


def test_two_devices_share_a_store(run: Run, server: ServerProcess, tmp_path: Path) -> None:
    def device(name: str, *arguments: object, code: int = 0) -> dict[str, Any]:
        token = tmp_path / f"{name}.token"
        token.write_text(f"token-{name}\n")
        options = ("--db", tmp_path / f"{name}.db", "--server", server.url, "--token-file", token)
        ran = run("device", *options, "--store", "1", *arguments, "--json")
        assert ran.code == code, (arguments, ran.out, ran.err)
        return ran.document

    added = device(
        "a", "product", "add", "--sku", "MUG-1", "--name", "Blue mug", "--price", "8.50",
        "--barcode", "2000000000015",
    )  # fmt: skip
    assert added["product"]["price"] == 850
    assert added["product"]["state"] == "pending"
    received = device("a", "receive", "MUG-1", 24, "--document", "DN-1")
    assert (received["before"], received["after"]) == (0, 24)
    # product, store with its first location, and the receipt
    assert device("a", "status")["pending"] == 3
    sent = device("a", "sync")
    assert (sent["sent"], sent["applied"], sent["verified"]) == (3, 3, True)
    assert device("a", "status")["pending"] == 0

    assert device("b", "sync")["received_rows"] >= 4
    (found,) = device("b", "find", "mug")["products"]
    assert (found["sku"], found["on_hand"], found["state"]) == ("MUG-1", 24, "synced")

    server.kill()
    sold = device("b", "adjust", "2000000000015", "--by", "-3", "--reason", "sale")
    assert (sold["before"], sold["after"]) == (24, 21)
    device("a", "adjust", "MUG-1", "--to", 22, "--reason", "damage")
    failed = device("b", "sync", code=1)
    assert failed["error"]["code"]
    assert device("b", "status")["pending"] + device("b", "status")["sent"] == 1
    device("b", "product", "edit", "MUG-1", "--shelf", "B4")

    server.start()
    for name in ("b", "a", "b"):
        device(name, "sync")
    for name in ("a", "b"):
        stock = device(name, "stock", "MUG-1", "--ledger")
        assert stock["on_hand"] == 19
        assert sorted(entry["quantity"] for entry in stock["ledger"]) == [-3, -2, 24]
        assert stock["product"]["shelf"] == "B4"
        assert device(name, "status")["stock_differences"] == 0

    undone = device("a", "undo", sold["movement"]["id"])
    assert undone["after"] == 22
    assert [p["sku"] for p in device("a", "product", "list")["products"]] == ["MUG-1"]


def test_wrong_use_says_what_is_wrong(run: Run, tmp_path: Path) -> None:
    options = ("device", "--db", tmp_path / "a.db", "--json")
    assert run(*options, "sync").code == 2
    assert run(*options, "sync").document["error"]["code"] == "no_server"
    assert run(*options, "receive", "NONE", 2).document["error"]["code"] == "no_product"
    assert run(*options, "product", "add", "A", "--price", "x").document["error"]["code"] == (
        "bad_price"
    )
    other = tmp_path / "other.db"
    text = b"this is not a database, whatever it says" * 100
    other.write_bytes(text)
    broken = run("device", "--db", other, "stock", "--json")
    assert broken.code == 1
    assert broken.document["error"]["code"] == "database_corrupt"
    assert other.read_bytes() == text
    assert not list(tmp_path.glob("other.db.*"))  # somebody's file is no replica to be set aside
