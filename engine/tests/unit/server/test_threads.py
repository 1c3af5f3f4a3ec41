"""Worker threads: one device never has them all, and those who wait take turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from holdfast.server.process.fair_limiter import FairLimiter
from holdfast.server.process.threads import Threads


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


class Work:
    """Calls that end when they are let go, and note the order in which they began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._gates: list[threading.Event] = []
        self._lock = threading.Lock()

    def __call__(self, name: str) -> str:
        gate = threading.Event()
        with self._lock:
            self.begun.append(name)
            self._gates.append(gate)
        assert gate.wait(30)
        return name

    def let_go(self, index: int) -> None:
        self._gates[index].set()

    async def have_begun(self, count: int) -> None:
        while len(self.begun) < count:  # noqa: ASYNC110 - threads say so
            await asyncio.sleep(0.001)


def test_one_owner_has_so_many_threads_and_no_more() -> None:
    async def work() -> None:
        threads, calls = Threads(4, per_owner=2), Work()
        greedy = [asyncio.ensure_future(threads.run("greedy", calls, "greedy")) for _ in range(12)]
        await calls.have_begun(2)
        assert threads.waiting("greedy") == threads.waiting() == 10
        other = asyncio.ensure_future(threads.run("other", calls, "other"))
        await calls.have_begun(3)  # at once, though ten came before
        assert calls.begun == ["greedy", "greedy", "other"]
        for index in range(13):
            await calls.have_begun(index + 1)
            calls.let_go(index)
        assert await other == "other"
        assert await asyncio.gather(*greedy) == ["greedy"] * 12
        assert threads.waiting() == 0

    run(work())


def test_owners_take_turns_when_all_threads_are_in_use() -> None:
    async def work() -> None:
        threads, calls = Threads(1, per_owner=1), Work()
        waiting = []
        for name in ("a", "a", "a", "b", "c", "b"):
            waiting.append(asyncio.ensure_future(threads.run(name, calls, name)))
            await asyncio.sleep(0)
        for index in range(6):
            await calls.have_begun(index + 1)
            calls.let_go(index)
        await asyncio.gather(*waiting)
        assert calls.begun == ["a", "a", "b", "c", "a", "b"]

    run(work())


def test_who_is_cancelled_leaves_the_queue_and_keeps_no_thread() -> None:
    async def work() -> None:
        threads, calls = Threads(1, per_owner=1), Work()
        first = asyncio.ensure_future(threads.run("a", calls, "a"))
        await calls.have_begun(1)
        gone = asyncio.ensure_future(threads.run("b", calls, "b"))
        next_one = asyncio.ensure_future(threads.run("c", calls, "c"))
        await asyncio.sleep(0.001)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert threads.waiting() == 1
        calls.let_go(0)
        await calls.have_begun(2)
        calls.let_go(1)
        assert [*await asyncio.gather(first, next_one)] == ["a", "c"]
        last = asyncio.ensure_future(threads.run("b", calls, "b"))
        await calls.have_begun(3)
        calls.let_go(2)
        assert await last == "b"

    run(work())


def test_who_is_cancelled_just_when_the_turn_comes_passes_it_on() -> None:
    async def work() -> None:
        limiter = FairLimiter(1, per_owner=1)
        await limiter.enter("a")
        waits = asyncio.ensure_future(limiter.enter("b"))
        after = asyncio.ensure_future(limiter.enter("c"))
        await asyncio.sleep(0)
        limiter.leave("a")  # the turn is b's, and b does not know it yet
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        await after
        limiter.leave("c")
        await limiter.enter("d")

    run(work())


def test_what_fails_gives_its_thread_back() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def work() -> None:
        threads = Threads(1, per_owner=1)
        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await threads.run("a", fail)
        assert await threads.run("b", lambda: 1) == 1

    run(work())
