"""A shop is backed up while it is served, lost, and put back: everybody gets in as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from stockroom.server.people import DEMO_PASSWORD
from tests.acceptance.conftest import Run
from tests.acceptance.test_serve import client, serving

pytestmark = pytest.mark.acceptance

SIGN_IN = {"protocol": 1, "user": "ben", "password": DEMO_PASSWORD, "name": "till"}


def test_a_shop_is_lost_and_put_back(tmp_path: Path, run: Run) -> None:
    copies, shop = tmp_path / "copies", tmp_path / "shop.db"
    copies.mkdir()
    with serving(tmp_path, "--demo") as server:
        made = run("backup", copies, "--database", shop, "--keep", "2", "--json")
        assert made.code == 0, made.err
        assert (made.document["ok"], made.document["differing"]) == (True, 0)
        copy = Path(made.document["file"])
        assert copy.parent == copies
        running = run("restore", copy, "--database", shop, "--json")
        assert (running.code, running.document["error"]["code"]) == (1, "served_elsewhere")
        assert "stop" in running.err
        assert server.terminate() == 0
        for end in ("", "-wal", "-shm"):
            (tmp_path / f"shop.db{end}").unlink(missing_ok=True)
        done = run("restore", copy, "--database", shop)
        assert done.code == 0, done.err
        assert "stockroom serve" in done.out
        server.start()
        with client(server) as browser:
            answer = browser.post("/v1/enrol", json=SIGN_IN)
            assert answer.status_code == 200, answer.text
    wrong = run("restore", tmp_path / "none", "--database", shop, "--json")
    assert (wrong.code, wrong.document["error"]["code"]) == (2, "no_backup")
