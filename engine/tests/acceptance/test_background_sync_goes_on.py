"""Background sync outlives what others hang on to it, and what nobody has foreseen; and says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core.backoff import Backoff
from holdfast.core.session import SessionConfig
from holdfast.replica.http.live import EventStream
from holdfast.replica.http.transport import HttpTransport
from holdfast.replica.runner import Runner, RunnerOptions
from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

INSERT = "INSERT INTO stock (sku, on_hand) VALUES (?, 1)"
SOON = SessionConfig(backoff=Backoff(base_ms=50, cap_ms=200, spread_ms=50), poll_ms=500)


def _raise(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def _write_and_see_it_arrive(world: Any, replica: Any, sku: str) -> None:
    with replica.transaction() as db:
        db.execute(INSERT, [sku])
    arrived = f"SELECT 1 FROM stock WHERE sku = '{sku}'"
    wait_until(lambda: world.rows(arrived), what=f"{sku} to arrive")


@pytest.mark.parametrize("error", [ZeroDivisionError("no"), SystemExit(1), BrokenPipeError()])
def test_a_status_callback_that_raises_stops_nothing(world: World, error: Any) -> None:
    with world.device("a", "token-a").opened() as replica:
        replica.start(RunnerOptions(session=SOON, on_status=_raise(error)))
        _write_and_see_it_arrive(world, replica, "screw")
        wait_until(lambda: replica.status.state == "online", what="the truth")


def test_a_progress_callback_that_raises_stops_nothing(world: World) -> None:
    with world.device("a", "token-a").opened() as replica:
        with replica.transaction() as db:
            db.execute(INSERT, ["screw"])
        assert replica.sync(progress=_raise(ZeroDivisionError())).verified
        assert replica.verify(progress=_raise(ZeroDivisionError())).ok
    assert world.rows("SELECT sku FROM stock") == [("screw",)]


@pytest.mark.parametrize("place", ["_look", "_watch_token", "_compare", "_tell", "_data_version"])
def test_a_session_that_fails_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Wherever in the session's thread it happens; meanwhile the status tells of it."""
    real = getattr(Runner, place)
    failing = [False]
    told: list[dict[str, Any]] = []

    def sometimes(self: Runner, *arguments: object) -> object:
        if failing[0]:
            raise RuntimeError("nobody has foreseen this")
        return real(self, *arguments)

    monkeypatch.setattr(Runner, place, sometimes)
    a = world.device("a", "token-a")
    b = world.device("b", "token-b")
    with a.opened() as replica:
        replica.start(RunnerOptions(session=SOON, on_status=told.append))
        wait_until(lambda: replica.status.state == "online", what="a link")
        failing[0] = True
        with replica.transaction() as db:
            db.execute(INSERT, ["during"])
        with b.opened() as other:
            with other.transaction() as db:
                db.execute(INSERT, ["theirs"])
            other.sync()
        wait_until(lambda: any(s.get("error_code") == "internal" for s in told), what="the news")
        wait_until(lambda: replica.status.error_code == "internal", what="the status")
        assert "nobody has foreseen this" in str(replica.status.error_message)
        assert replica.status.way_out
        failing[0] = False
        _write_and_see_it_arrive(world, replica, "after")
        wait_until(lambda: replica.status.error_code is None, what="the failure to be over")
        assert len(world.rows("SELECT sku FROM stock")) == 3


def test_a_thread_that_is_gone_is_noticed_and_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should even the guard fail: the status says so, and the next write brings it back."""
    a = world.device("a", "token-a")
    with a.opened() as replica:
        monkeypatch.setattr(Runner, "_run", lambda _self: None)
        replica.start(RunnerOptions(session=SOON))
        wait_until(lambda: replica.status.state == "stopped", what="the end to be noticed")
        assert replica.status.error_code == "internal"
        monkeypatch.undo()
        _write_and_see_it_arrive(world, replica, "screw")


class BrokenStream(HttpTransport):
    """Whose live stream fails in a way that nobody expects, at first."""

    left = 2

    def events(self) -> EventStream:
        type(self).left -= 1
        if self.left >= 0:
            raise RuntimeError("a bug in a library")
        return super().events()


def test_a_live_stream_that_fails_is_opened_again(world: World) -> None:
    a = world.device("a", "token-a")
    transport = BrokenStream(world.url, lambda: "token-a")
    with a.opened(transport=transport) as replica:
        replica.start(RunnerOptions(session=SOON))
        wait_until(lambda: transport.left < 0, what="the stream to be tried again")
        _write_and_see_it_arrive(world, replica, "screw")


class BrokenExchange(HttpTransport):
    """Whose exchanges end as no exchange should, at first."""

    left = 2

    def exchange(self, *arguments: Any) -> Any:
        type(self).left -= 1
        if self.left >= 0:
            raise SystemExit(3)
        return super().exchange(*arguments)


def test_an_exchange_that_ends_its_thread_does_not(world: World) -> None:
    a = world.device("a", "token-a")
    transport = BrokenExchange(world.url, lambda: "token-a")
    with a.opened(transport=transport) as replica:
        replica.start(RunnerOptions(session=SOON))
        _write_and_see_it_arrive(world, replica, "screw")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_run_outlives_its_terminal(world: World, stream: str) -> None:
    a = world.device("a", "token-a")
    where: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        stream: subprocess.PIPE,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast.cli", "run", str(a.file), "--backoff-max", "1", "--json"],
        stdin=subprocess.DEVNULL, **where,
    )  # fmt: skip
    try:
        getattr(process, stream).close()
        a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 1)")
        wait_until(lambda: world.rows("SELECT sku FROM stock") == [("screw",)], what="the write")
        assert process.poll() is None
        process.terminate()
        process.wait(60)
    finally:
        process.kill()
        process.wait(60)
