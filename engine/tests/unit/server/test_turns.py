"""Turns: owners are served one after the other, whatever one of them wants."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from holdfast.server.process.fair_lock import FairLock, FairQueue


def test_owners_take_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(5):
        queue.put("greedy", number)
    queue.put("one", 10)
    queue.put("two", 20)
    order = [found[1] for _ in range(7) if (found := queue.take())]
    assert order == [0, 10, 20, 1, 2, 3, 4]
    assert queue.take() is None
    assert len(queue) == 0


def test_who_comes_again_comes_after_all_who_wait() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.put("greedy", 0)
    queue.put("greedy", 1)
    queue.put("one", 10)
    assert queue.take() == ("greedy", 0)
    queue.put("greedy", 2)
    assert queue.take() == ("one", 10)


def test_a_busy_owner_is_passed_over_and_keeps_its_place() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.put("a", 1)
    queue.put("b", 2)
    assert queue.take({"a"}) == ("b", 2)
    assert queue.take({"a"}) is None
    assert queue.waiting("a") == 1
    assert queue.take() == ("a", 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_nobody_waits_for_two_turns_of_another(steps: list[tuple[str, bool]]) -> None:
    queue: FairQueue[str] = FairQueue()
    since: dict[str, dict[str, int]] = {}
    for owner, puts in steps:
        if puts:
            queue.put(owner, owner)
            since.setdefault(owner, {})
        elif (found := queue.take()) is not None:
            served, item = found
            assert served == item
            del since[served]
            for others in since.values():
                others[served] = others.get(served, 0) + 1
                assert others[served] <= 1
            if queue.waiting(served):
                since[served] = {}


def test_a_lock_is_handed_to_each_owner_in_turn() -> None:
    turns = FairLock()
    order: list[str] = []
    turns.acquire("first")
    threads = []
    for place, owner in enumerate(["greedy", "greedy", "greedy", "one", "two"]):

        def work(owner: str = owner) -> None:
            turns.acquire(owner)
            order.append(owner)
            turns.release()

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        while turns.waiting() < place + 1:
            threading.Event().wait(0.001)
    turns.release()
    for thread in threads:
        thread.join(30)
    assert order == ["greedy", "one", "two", "greedy", "greedy"]
    assert turns.acquire("again", timeout_s=0)


def test_who_gives_up_waiting_is_forgotten() -> None:
    turns = FairLock()
    turns.acquire("holder")
    assert not turns.acquire("impatient", timeout_s=0.001)
    assert turns.waiting() == 0
    turns.release()
    assert turns.acquire("other", timeout_s=0)
