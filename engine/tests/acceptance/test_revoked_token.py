"""A token is taken out of the server's file and put back.

Checks I26, I32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.core.errors import SignInNeeded
from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance


def _without_a(text: str) -> str:
    return text[text.index("[token-b]") :]


def test_work_waits_while_the_token_is_revoked(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    b.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    b.sync()
    a.sync()
    everything = world.tokens.read_text()
    world.tokens.write_text(_without_a(everything))
    b.shell("INSERT INTO stock (sku) VALUES ('secret')")
    b.sync()
    a.shell("UPDATE stock SET on_hand = on_hand - 1")

    error = a.try_sync()
    assert isinstance(error, SignInNeeded)
    told = a.cli("status", "--json").document
    assert told["pending"] + told["sent"] == 1
    failed = a.cli("sync", "--json")
    assert (failed.code, failed.document["error"]["code"]) == (1, "sign_in")
    assert a.query("SELECT sku, on_hand FROM stock") == [("screw", 9)], "got or lost something"
    assert world.rows("SELECT on_hand FROM stock WHERE sku = 'screw'") == [(10,)]
    b.sync()

    world.tokens.write_text(everything)
    a.sync()
    b.sync()
    assert world.rows("SELECT on_hand FROM stock WHERE sku = 'screw'") == [(9,)]
    world.check_equal(a, b)


def test_a_live_stream_ends_with_its_token_and_goes_on_with_a_new_one(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.run(backoff_max=1, poll=1)
    wait_until(lambda: a.session().get("state") == "online", what="a link")
    everything = world.tokens.read_text()
    world.tokens.write_text(_without_a(everything))
    a.shell("INSERT INTO stock (sku) VALUES ('mine')")
    wait_until(lambda: a.session().get("state") == "needs_sign_in", what="the verdict")
    b.shell("INSERT INTO stock (sku) VALUES ('theirs')")
    b.sync()
    assert a.status()["pending"] + a.status()["sent"] == 1
    assert a.query("SELECT sku FROM stock") == [("mine",)]

    # A new token for the same device, in the device's own file: background sync takes it up.
    world.tokens.write_text(everything.replace("[token-a]", "[token-new]"))
    a.token_file.write_text("token-new\n")
    wait_until(lambda: a.query("SELECT count(*) FROM stock") == [(2,)], what="the news")
    wait_until(lambda: a.session().get("state") == "online", what="the state to say so")
    b.sync()
    world.check_equal(a, b)
