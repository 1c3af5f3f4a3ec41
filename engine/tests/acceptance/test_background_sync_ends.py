"""Background sync ends when it is told to, also in the moment in which it opens its live stream."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from holdfast.replica.http.live import EventStream
from holdfast.replica.http.transport import HttpTransport
from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance


class LateTransport(HttpTransport):
    """Opens the live stream only once the end has begun, as a busy machine may do."""

    asked = False
    """Whether the stream was asked for."""

    def events(self) -> EventStream:
        self.asked = True
        self.ending.wait(20)
        return super().events()

    def interrupt(self) -> None:
        super().interrupt()
        self.ending.set()

    @property
    def ending(self) -> threading.Event:
        event: threading.Event = self.__dict__.setdefault("_ending", threading.Event())
        return event


def test_a_stream_that_opens_during_the_end_does_not_hold_it_up(world: World) -> None:
    a = world.device("a", "token-a")
    transport = LateTransport(world.url, lambda: "token-a")
    with a.opened(transport=transport) as replica:
        replica.start()
        wait_until(lambda: transport.asked, what="the stream is asked for")
        stopping = threading.Thread(target=replica.stop, daemon=True)
        stopping.start()
        stopping.join(10)
        ended = not stopping.is_alive()
        if not ended:
            transport.close()  # so that a failure ends, too
        assert ended, "it waits for a stream that nobody reads"
