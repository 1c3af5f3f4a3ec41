"""Whoever can read a token is the device: the command says so when others can."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from holdfast.testing import free_port

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import MakeWorld, World

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(sys.platform == "win32", reason="files have no mode"),
]


def test_a_token_that_others_can_read_is_told_of(world: World) -> None:
    server = f"http://127.0.0.1:{free_port()}"
    for name, mode, is_told in (("a", 0o644, True), ("b", 0o640, True), ("c", 0o600, False)):
        token = world.path / f"{name}.secret"
        token.write_text("token-a\n")
        token.chmod(mode)
        made = world.holdfast(
            "init", world.path / f"{name}-new.db", "--schema", world.schema, "--server", server,
            "--token-file", token, "--json",
        )  # fmt: skip
        assert made.code == 0, made.err
        assert (f"chmod 600 {token}" in made.err) is is_told, (oct(mode), made.err)
        assert "token-a" not in made.err + made.out


def test_so_does_a_server_about_its_tokens(make_world: MakeWorld) -> None:
    told = make_world()
    log = told.server.log_path.read_text()
    assert '"event": "tokens_readable"' in log, log
    assert "chmod 600" in log
