"""What `run`, `sync`, `verify` and `status` say of a device is one truth, whichever process asks.

A failure stays until a success follows it; it has a way out; and what cannot be of now has a date.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import Device, World

pytestmark = pytest.mark.acceptance

SCREW = "INSERT INTO stock (sku, on_hand) VALUES ('screw', 1)"


def _copied(world: World) -> Any:
    """A copy of a device with the token of another one, which cannot sync, and work in it."""
    a = world.device("a", "token-a")
    a.shell(SCREW)
    a.shell("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = world.device("b", "token-a", met=False)
    shutil.copy(a.file, copy.file)
    a.sync()
    a.token_file.write_text("token-b\n")  # which its copy uses, too
    copy.shell("UPDATE stock SET on_hand = 7")
    return copy


def _status(device: Device, *arguments: str) -> Any:
    told = device.cli("status", "--json", *arguments).document
    return told, (told["state"], told["error_code"])


@pytest.mark.parametrize("command", ["sync", "run"])
def test_a_failure_is_told_by_every_process_until_a_success(world: World, command: str) -> None:
    copy = _copied(world)
    if command == "sync":
        failed = copy.cli("sync", "--json")
        assert failed.document["error"]["code"] == "wrong_device"
        assert failed.document["error"]["way_out"] in " ".join(failed.err.split())
    else:
        runner = copy.run()
        wait_until(lambda: _status(copy)[1][0] == "needs_attention", what="the verdict")
        assert _status(copy)[0]["as_of"]
        assert runner.terminate() == 0
    stuck = ("needs_attention", "wrong_device")
    for options in ((), ("--no-probe",)):
        told, short = _status(copy, *options)
        assert short == stuck
        assert told["pending"] == 2
        assert "token belongs" in told["way_out"]
        assert abs(told["as_of"] / 1e6 - time.time()) < 300
    assert "token belongs" in " ".join(copy.cli("status").out.split())
    copy.cli("verify")  # it sends nothing, and so it proves nothing of this
    assert _status(copy)[1] == stuck
    world.server.kill()
    assert _status(copy)[1] == stuck, "that the server has gone as well is the smaller trouble"
    runner = copy.run()  # a new session, which cannot reach the server: not a success
    log = copy.file.with_suffix(f".run-{len(world.background) - 1}.log")
    wait_until(lambda: "offline" in log.read_text(), what="the new session")
    assert _status(copy)[0]["error_code"] is not None
    assert runner.terminate() == 0


def test_a_token_that_is_not_taken_is_told_until_one_is(world: World) -> None:
    a = world.device("a", "token-a")
    a.token_file.write_text("of somebody else\n")
    for command in ("sync", "verify"):
        assert a.cli(command).code != 0
        told, short = _status(a)
        assert short == ("needs_sign_in", "sign_in")
        assert "Sign in" in told["way_out"]
        a.token_file.write_text("token-a\n")
        assert a.cli(command).code == 0
        assert _status(a)[1] == ("online", None)
        a.token_file.write_text("of somebody else\n")


def test_a_token_of_another_device_is_told(world: World) -> None:
    a = world.device("a", "token-a")
    a.token_file.write_text("token-b\n")
    assert a.cli("sync").code == 1
    told, short = _status(a)
    assert short == ("needs_attention", "wrong_device")
    assert "another device" in told["way_out"]


def test_a_locked_file_is_told_with_a_way_out(world: World) -> None:
    a = world.device("a", "token-a")
    with a.opened(busy_timeout_ms=200) as replica:
        holder = subprocess.Popen(
            [sys.executable, "-c", ("import sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
             "d.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"),
             str(a.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(Exception, match="locked"):
                replica.sync()
            # It could not be written down; who has seen it knows it.
            assert replica.status.error_code == "database_busy"
            assert "locked" in str(replica.status.way_out)
        finally:
            holder.kill()
            holder.communicate(timeout=60)


def test_a_runner_that_stands_still_is_told_as_of_its_last_sign(world: World) -> None:
    a = world.device("a", "token-a")
    runner = a.run()
    wait_until(lambda: a.session().get("state") == "online", what="a link")
    os.kill(runner.process.pid, signal.SIGSTOP)
    try:
        lock = a.file.with_name(a.file.name + "-synclock")
        stopped = lock.stat().st_mtime
        assert abs(_status(a)[0]["as_of"] / 1e6 - stopped) < 30
        long_ago = time.time() - 3600
        os.utime(lock, (long_ago, long_ago))
        session = a.session()
        a.query("UPDATE holdfast_state SET session = json_set(session, '$.at', 1)")
        told, _ = _status(a)
        assert told["stalled"]
        assert told["error_code"] == "sync_silent"
        assert abs(told["as_of"] / 1e6 - long_ago) < 5
        assert session["pid"] == runner.process.pid
    finally:
        os.kill(runner.process.pid, signal.SIGCONT)
    wait_until(lambda: _status(a)[1] == ("online", None), what="it goes on")
    assert runner.terminate() == 0
