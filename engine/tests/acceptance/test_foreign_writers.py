"""Other programs write with plain `sqlite3`, on a replica and on the server's database.

REPLACE deletes without firing delete triggers, an upsert is half insert and half update: all of it
is captured, and nothing that nobody wrote.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

SEED = (
    "INSERT INTO stock (sku, name, price, on_hand) VALUES "
    "('bolt', 'Bolt', 5, 50), ('nut', 'Nut', 2, 20), ('screw', 'Screw', 1, 10), "
    "('tape', 'Tape', 9, 9)"
)
WRITES = (
    "INSERT OR REPLACE INTO stock (sku, name, price, on_hand) VALUES ('bolt', 'Bolt M8', 6, 45)",
    "REPLACE INTO stock (sku, name) VALUES ('new', 'Fresh')",
    (
        "INSERT INTO stock (sku, on_hand) VALUES ('nut', 3) "
        "ON CONFLICT (sku) DO UPDATE SET on_hand = on_hand + excluded.on_hand"
    ),
    "INSERT OR IGNORE INTO stock (sku, name) VALUES ('nut', 'ignored')",
    "DELETE FROM stock WHERE sku = 'screw'",
    "UPDATE stock SET name = upper(name) WHERE sku = 'tape'",
    "UPDATE OR REPLACE stock SET on_hand = on_hand - 1 WHERE sku = 'tape'",
    "INSERT INTO stock (sku) VALUES ('gone'); DELETE FROM stock WHERE sku = 'gone'",
)
EXPECTED = [
    ("bolt", "Bolt M8", 6, 45), ("new", "Fresh", None, 0), ("nut", "Nut", 2, 23),
    ("tape", "TAPE", 9, 8),
]  # fmt: skip
FOREIGN = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10)
for sql in sys.argv[2:]:
    for part in sql.split("; "):
        db.execute(part)
db.commit()
"""


def _write(path: Any, *statements: str) -> None:
    """One transaction of Python's own sqlite3, in another process."""
    subprocess.run([sys.executable, "-c", FOREIGN, str(path), *statements], check=True, timeout=60)


def test_what_others_write_on_a_replica_reaches_everybody(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell(SEED)
    for device in (a, b):
        device.sync()
    _write(a.file, *WRITES)
    assert a.status()["pending"] == 1
    assert a.query("SELECT DISTINCT key FROM holdfast_pending WHERE key <> 'gone' ORDER BY 1") == [
        (sku,) for sku in ("bolt", "new", "nut", "screw", "tape")
    ]
    b.shell("UPDATE stock SET on_hand = on_hand - 5 WHERE sku = 'bolt'")
    for device in (a, b, a):
        device.sync()
    # Writing 45 over 50 is a difference of -5, REPLACE or not, and the other 5 are gone as well.
    expected = [("bolt", "Bolt M8", 6, 40), *EXPECTED[1:]]
    assert world.rows() == expected
    world.check_equal(a, b)


def test_what_others_write_on_the_server_reaches_live_devices(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell(SEED)
    for device in (a, b):
        device.sync()
        device.run(poll=3600)
    for device in (a, b):
        wait_until(lambda device=device: device.session().get("state") == "online", what="a link")  # type: ignore[misc]  # it binds the name
    _write(world.database, *WRITES)
    for device in (a, b):
        wait_until(
            lambda device=device: device.query("SELECT * FROM stock ORDER BY 1") == EXPECTED,  # type: ignore[misc]  # it binds the name
            what=f"the back office's writes on {device.name}",
        )
    a.shell("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'nut'")
    _write(world.database, "UPDATE stock SET on_hand = on_hand - 2 WHERE sku = 'nut'")
    for device in (a, b):
        wait_until(
            lambda device=device: (  # type: ignore[misc]  # it binds the name
                device.query("SELECT on_hand FROM stock WHERE sku = 'nut'") == [(20,)]
            ),
            what=f"both differences on {device.name}",
        )
    assert world.rows("SELECT on_hand FROM stock WHERE sku = 'nut'") == [(20,)]
    wait_until(lambda: a.status()["pending"] + a.status()["sent"] == 0, what="a quiet device")
    world.check_equal(a, b)


def test_a_write_that_the_wire_could_not_carry_is_stopped_at_the_source(world: World) -> None:
    a = world.device("a", "token-a")
    a.shell(SEED)
    a.sync()
    refused = (
        "UPDATE stock SET name = 'a' || char(0) || 'b'",
        "UPDATE stock SET sku = 'other' WHERE sku = 'nut'",
        "UPDATE stock SET on_hand = 1.5",
        "UPDATE stock SET on_hand = NULL",
        "UPDATE stock SET price = 'cheap'",
        "INSERT INTO stock (sku) VALUES (NULL)",
    )
    for sql in refused:
        with pytest.raises(subprocess.CalledProcessError):
            _write(a.file, sql)
    assert a.status()["pending"] == 0
    world.check_equal(a)
