"""Data changed behind the engine's back is found down to the row, and repaired (I36).

The `applying` flag keeps the capture triggers quiet, as damage by a disk would.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.acceptance

ROWS = 300
UNSEEN = (
    "BEGIN; UPDATE holdfast_state SET applying = 1; {}; "
    "UPDATE holdfast_state SET applying = 0; COMMIT"
)

DAMAGE = {
    "a changed cell": ("UPDATE stock SET name = 'damaged' WHERE sku = 'p007'", "p007"),
    "a changed number": ("UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'p299'", "p299"),
    "a deleted row": ("DELETE FROM stock WHERE sku = 'p150'", "p150"),
    "a ghost row": ("INSERT INTO stock (sku, name) VALUES ('p150a', 'ghost')", "p150a"),
}


@pytest.fixture
def filled(world):
    """A device with rows, some pending work, and another device."""
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    with a.opened() as replica:
        with replica.transaction() as db:
            db.executemany(
                "INSERT INTO stock (sku, name, on_hand) VALUES (?, ?, ?)",
                [(f"p{number:03}", f"Part {number}", number) for number in range(ROWS)],
            )
        assert replica.sync().verified
    b.sync()
    return world, a, b


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_on_a_replica_is_found_and_repaired(filled, damage: str) -> None:
    world, a, _ = filled
    sql, sku = DAMAGE[damage]
    a.shell("UPDATE stock SET name = 'pending', on_hand = on_hand - 1 WHERE sku = 'p001'")
    a.shell(UNSEEN.format(sql))
    assert a.status()["pending"] == 1, "it was captured"

    told = a.cli("verify", "--json")
    assert told.code == 0, told.err
    assert told.document["ok"] is True
    assert told.document["damaged"] == [["stock", sku]]
    assert told.document["repaired"] == 1
    assert a.query("SELECT * FROM stock WHERE sku = ?", (sku,)) == world.rows(
        f"SELECT * FROM stock WHERE sku = '{sku}'"
    )
    status = a.status()
    assert status["pending"] == 1
    assert a.query("SELECT name, on_hand FROM stock WHERE sku = 'p001'") == [("pending", 0)]
    again = a.cli("verify", "--json").document
    assert (again["ok"], again["damaged"], again["repaired"]) == (True, [], 0)
    a.sync()
    assert world.rows("SELECT name, on_hand FROM stock WHERE sku = 'p001'") == [("pending", 0)]
    world.check_equal(a)


def test_damage_under_pending_work_is_repaired_and_the_work_kept(filled) -> None:
    world, a, b = filled
    a.shell("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'p100'")
    world.server.kill()
    assert a.try_sync() is not None  # sealed and tried, so that there is a shadow
    world.serve()
    a.shell("UPDATE holdfast_shadow_stock SET name = 'damaged' WHERE key = 'p100'")
    told = a.cli("verify", "--json").document
    assert told["ok"] is True
    assert told["damaged"] == [["stock", "p100"]]
    assert a.query("SELECT name, on_hand FROM stock WHERE sku = 'p100'") == [("Part 100", 99)]
    for device in (a, b):
        device.sync()
    assert world.rows("SELECT name, on_hand FROM stock WHERE sku = 'p100'") == [("Part 100", 99)]
    world.check_equal(a, b)


def test_damage_to_the_hashes_themselves_is_found_by_comparing(filled) -> None:
    world, a, _ = filled
    a.shell("UPDATE holdfast_member SET hash = zeroblob(16) WHERE key = 'p042'")
    told = a.cli("verify", "--json").document
    assert told["ok"] is True
    assert told["damaged"] == [["stock", "p042"]]
    world.check_equal(a)


def test_a_wrong_digest_is_noticed_by_the_next_sync(filled) -> None:
    world, a, _ = filled
    a.shell("UPDATE holdfast_scope SET digest = '00000000000000000000000000000000'")
    with a.opened() as replica:
        report = replica.sync()
        assert report.verified, "found and mended at once"
        assert replica.status.mismatches >= 1
    world.check_equal(a)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_on_the_server_is_taken_as_written_there_when_it_starts(filled, damage: str) -> None:
    """The server is the authority: what it stores is what counts, and every device gets it."""
    world, a, b = filled
    sql, sku = DAMAGE[damage]
    world.server.terminate()
    world.shell(world.database, UNSEEN.format(sql))
    world.serve()
    for device in (a, b):
        device.sync()
        with device.opened() as replica:
            assert replica.verify().ok
    where = f"SELECT * FROM stock WHERE sku = '{sku}'"
    assert a.query(where) == world.rows(where)
    world.check_equal(a, b)
