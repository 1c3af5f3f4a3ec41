"""Data changed behind the engine's back is found down to the row, and repaired.

The `applying` flag keeps the capture triggers quiet, as damage by a disk would.

Checks I32, I36.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from holdfast.schema.load import load_schema
from holdfast.server.assembly import open_server
from holdfast.server.identity.token_file import TokenFile
from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import Device, World

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


Filled: TypeAlias = "tuple[World, Device, Device]"


@pytest.fixture
def filled(world: World) -> Filled:
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
def test_damage_on_a_replica_is_found_and_repaired(filled: Filled, damage: str) -> None:
    world, a, _ = filled
    sql, sku = DAMAGE[damage]
    a.shell("UPDATE stock SET name = 'pending', on_hand = on_hand - 1 WHERE sku = 'p001'")
    with a.opened() as replica:
        replica.seal()
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


def test_damage_under_pending_work_is_repaired_and_the_work_kept(filled: Filled) -> None:
    world, a, b = filled
    a.shell("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'p100'")
    b.shell("UPDATE stock SET name = 'from b' WHERE sku = 'p100'")
    b.sync()
    with a.opened() as replica:
        assert replica.verify().ok  # brings the news, and so a shadow beneath the pending work
    assert a.query("SELECT v_name FROM holdfast_shadow_stock WHERE key = 'p100'") == [("from b",)]
    a.shell("UPDATE holdfast_shadow_stock SET v_name = 'damaged' WHERE key = 'p100'")
    told = a.cli("verify", "--json").document
    assert told["ok"] is True
    assert told["damaged"] == [["stock", "p100"]]
    assert a.query("SELECT name, on_hand FROM stock WHERE sku = 'p100'") == [("from b", 99)]
    assert a.status()["pending"] + a.status()["sent"] == 1
    for device in (a, b):
        device.sync()
    assert world.rows("SELECT name, on_hand FROM stock WHERE sku = 'p100'") == [("from b", 99)]
    world.check_equal(a, b)


def test_damage_to_what_a_person_sees_of_pending_work_is_mended(filled: Filled) -> None:
    world, a, _ = filled
    a.shell("UPDATE stock SET name = 'mine' WHERE sku = 'p100'")
    assert a.status()["pending"] == 1
    with a.opened() as replica:
        replica.seal()
    a.shell(UNSEEN.format("UPDATE stock SET name = 'damaged' WHERE sku = 'p100'"))
    told = a.cli("verify", "--json").document
    assert (told["ok"], told["damaged"]) == (True, [["stock", "p100"]])
    assert a.query("SELECT name FROM stock WHERE sku = 'p100'") == [("mine",)]
    assert a.status()["pending"] == 1
    a.sync()
    assert world.rows("SELECT name FROM stock WHERE sku = 'p100'") == [("mine",)]


def test_a_device_can_be_verified_while_it_syncs_in_the_background(filled: Filled) -> None:
    world, a, b = filled
    running = a.run()
    wait_until(lambda: a.session().get("state") == "online", what="the background sync")
    b.shell("UPDATE stock SET name = 'news' WHERE sku = 'p003'")
    b.sync()
    a.shell(UNSEEN.format("UPDATE stock SET name = 'damaged' WHERE sku = 'p007'"))
    told = a.cli("verify", "--json")
    assert told.code == 0, told.err
    assert told.document["damaged"] == [["stock", "p007"]]
    assert running.terminate() == 0
    a.sync()
    world.check_equal(a, b)


def test_the_servers_database_can_be_checked_from_a_shell(filled: Filled) -> None:
    world, _, _ = filled
    world.server.terminate()
    arguments = ("check", "--schema", world.schema, "--database", world.database, "--json")
    assert world.holdfast(*arguments).document == {"ok": True, "differing": 0}
    world.shell(world.database, UNSEEN.format(DAMAGE["a changed cell"][0]))
    told = world.holdfast(*arguments)
    assert (told.code, told.document) == (1, {"ok": False, "differing": 1})
    assert world.holdfast(*arguments).code == 0, "it was taken in as written directly"


def test_damage_to_the_hashes_themselves_is_found_by_comparing(filled: Filled) -> None:
    world, a, _ = filled
    a.shell("UPDATE holdfast_member SET hash = zeroblob(16) WHERE key = 'p042'")
    told = a.cli("verify", "--json").document
    assert told["ok"] is True
    assert told["damaged"] == [["stock", "p042"]]
    world.check_equal(a)


def test_a_wrong_digest_is_noticed_by_the_next_sync(filled: Filled) -> None:
    world, a, _ = filled
    a.shell("UPDATE holdfast_scope SET digest = '00000000000000000000000000000000'")
    with a.opened() as replica:
        report = replica.sync()
        assert report.verified, "found and mended at once"
        assert replica.status.mismatches >= 1
    world.check_equal(a)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_on_the_server_is_found_by_its_deep_check(filled: Filled, damage: str) -> None:
    """The server is the authority: what it stores is what counts, and every device gets it."""
    world, a, b = filled
    sql, sku = DAMAGE[damage]
    world.server.terminate()
    world.shell(world.database, UNSEEN.format(sql))
    schema = load_schema(str(world.schema))
    with open_server(schema, world.database, TokenFile(world.tokens)) as server:
        assert server.service.deep_check() == 1
        assert server.service.deep_check() == 0
    world.serve()
    _check_all_have(world, a, b, sku)


def test_writes_while_the_servers_triggers_were_gone_are_found_at_its_start(filled: Filled) -> None:
    world, a, b = filled
    world.server.terminate()
    triggers = world.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
    drops = "; ".join(f'DROP TRIGGER "{name}"' for (name,) in triggers)
    damages = "; ".join(sql for sql, _ in DAMAGE.values())
    world.shell(world.database, f"{drops}; {damages}")
    world.serve()
    for _, sku in DAMAGE.values():
        _check_all_have(world, a, b, sku)
    world.shell(world.database, "UPDATE stock SET name = 'seen again' WHERE sku = 'p000'")
    _check_all_have(world, a, b, "p000")


def _check_all_have(world: World, a: Device, b: Device, sku: str) -> None:
    for device in (a, b):
        device.sync()
        with device.opened() as replica:
            assert replica.verify().ok
    where = f"SELECT * FROM stock WHERE sku = '{sku}'"
    assert a.query(where) == world.rows(where)
    world.check_equal(a, b)


def test_unsealed_work_of_others_is_not_taken_for_damage(filled: Filled) -> None:
    world, a, b = filled
    a.shell("DELETE FROM stock WHERE sku = 'p010'; UPDATE stock SET name = 'x' WHERE sku = 'p011'")
    a.shell("INSERT INTO stock (sku) VALUES ('new')")
    told = a.cli("verify", "--json").document
    assert (told["ok"], told["damaged"], told["repaired"]) == (True, [], 0)
    for device in (a, b):
        device.sync()
    assert world.rows("SELECT count(*), sum(name = 'x') FROM stock") == [(ROWS, 1)]
    world.check_equal(a, b)
