"""The hub tells each stream the newest of what it may know, however slow it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from holdfast.core.errors import ProtocolError
from holdfast.server.identity.principal import Principal
from holdfast.server.live.events import Hub

ANN = Principal("ann", "till-1", read=("catalog",), write=("store/12",))
BOB = Principal("bob", "till-2", read=("store/*",))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def test_what_moved_is_told_once() -> None:
    async def work() -> None:
        hub = Hub()
        with hub.subscribe(ANN) as stream:
            hub.publish({"catalog": 3})
            assert await stream.next() == {"catalog": 3}
            assert await stream.next(timeout_ms=10) is None

    run(work())


def test_a_slow_subscriber_gets_only_the_newest() -> None:
    async def work() -> None:
        hub = Hub()
        with hub.subscribe(ANN) as stream:
            for version in range(1, 10_001):
                hub.publish({"catalog": version})
            hub.publish({"catalog": 5})
            hub.publish({"store/12": 1})
            assert await stream.next() == {"catalog": 10_000, "store/12": 1}

    run(work())


def test_only_readable_scopes_are_told() -> None:
    async def work() -> None:
        hub = Hub()
        with hub.subscribe(ANN) as ann, hub.subscribe(BOB) as bob:
            hub.publish({"catalog": 1, "store/12": 2, "store/9": 3, "secret": 4})
            assert await ann.next() == {"catalog": 1, "store/12": 2}
            assert await bob.next() == {"store/12": 2, "store/9": 3}
            hub.publish({"secret": 5})
            assert await ann.next(timeout_ms=10) is None

    run(work())


def test_any_thread_may_publish() -> None:
    async def work() -> None:
        hub = Hub()
        with hub.subscribe(ANN) as stream:

            def publish() -> None:
                for version in range(500):
                    hub.publish({"catalog": version})

            threads = [threading.Thread(target=publish) for _ in range(4)]
            for thread in threads:
                thread.start()
            newest = 0
            async for news in stream:
                assert news["catalog"] >= newest
                newest = news["catalog"]
                if newest == 499:
                    break
            for thread in threads:
                await asyncio.to_thread(thread.join)

    run(work())


def test_a_device_has_so_many_streams() -> None:
    async def work() -> None:
        hub = Hub(streams_per_device_max=2)
        first, second = hub.subscribe(ANN), hub.subscribe(ANN)
        with pytest.raises(ProtocolError) as caught:
            hub.subscribe(ANN)
        assert (caught.value.status, caught.value.code) == (429, "too_many_streams")
        bob = hub.subscribe(BOB)
        first.close()
        first.close()
        third = hub.subscribe(ANN)
        for stream in (second, bob, third):
            stream.close()
        assert len(hub) == 0

    run(work())


def test_closing_the_hub_ends_all_streams() -> None:
    async def work() -> None:
        hub = Hub()
        streams = [hub.subscribe(ANN), hub.subscribe(BOB)]
        waiting = [asyncio.create_task(stream.next()) for stream in streams]
        await asyncio.sleep(0)
        await asyncio.to_thread(hub.close)
        assert await asyncio.gather(*waiting) == [None, None]
        assert [news async for news in streams[0]] == []
        with pytest.raises(ProtocolError, match="stopping"):
            hub.subscribe(ANN)

    run(work())


def test_a_stream_whose_loop_has_ended_does_no_harm() -> None:
    hub = Hub()

    async def leave_open() -> None:
        hub.subscribe(ANN)

    run(leave_open())
    hub.publish({"catalog": 1})
    hub.close()


class Asked(Principal):
    """A principal that counts how often it is asked what it may read."""

    asked = 0

    def may_read(self, scope: str) -> bool:
        type(self).asked += 1
        return super().may_read(scope)


def test_a_commit_asks_only_the_streams_that_may_read_its_scopes() -> None:
    async def work() -> None:
        hub = Hub()
        streams = [
            hub.subscribe(Asked("u", f"d{n}", read=(f"store/{n}", f"area/{n}/*")))
            for n in range(200)
        ]
        Asked.asked = 0
        hub.publish({"store/7": 1, "area/9/x": 2, "nobody": 3})
        assert await streams[7].next() == {"store/7": 1}
        assert await streams[9].next() == {"area/9/x": 2}
        assert Asked.asked <= 6
        for stream in streams:
            stream.close()
        assert not hub._by_scope
        assert not hub._by_prefix

    run(work())


def test_a_stream_whose_rights_change_is_found_by_the_new_ones() -> None:
    async def work() -> None:
        hub = Hub()
        with hub.subscribe(ANN) as stream:
            stream.follow(BOB)
            assert await stream.next() == {}
            hub.publish({"catalog": 1})
            hub.publish({"store/77": 2})
            assert await stream.next() == {"store/77": 2}
            stream.follow(ANN)
            hub.publish({"catalog": 3, "store/77": 4, "store/12": 5})
            assert await stream.next() == {"catalog": 3, "store/12": 5}
        assert not hub._by_scope
        assert not hub._by_prefix

    run(work())
