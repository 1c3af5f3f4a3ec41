"""Callbacks of an app that are told of news by a thread of ours.

Knows: how to look, and what was told last. Must not know: what is looked at. What a callback raises
is logged, and it is called again with the next news.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from holdfast.core.errors import HoldfastError
from holdfast.replica.events.subscriptions import ChangeSubscription
from holdfast.replica.guards import log, outlived

T = TypeVar("T")


def unseen(read: Callable[[], list[T]], name: Callable[[T], object]) -> Callable[[], list[T]]:
    """A look at what there is; each answers what was not there at the look before."""
    seen: list[object] = []

    def look() -> list[T]:
        found = [(name(one), one) for one in read()]
        new = [one for called, one in found if called not in seen]
        seen[:] = [called for called, _ in found]
        return new

    return look


def call_with_news(
    what: str,
    news: Callable[[], Iterable[T]],
    callback: Callable[[T], object],
    woken_by: ChangeSubscription,
) -> Callable[[], None]:
    """Call ``callback`` with each of the ``news`` there are whenever the subscription wakes; the
    answer ends it. ``what`` it is called in the log."""
    tell = outlived(what, callback)

    def run() -> None:
        failed = ""
        while True:
            try:
                if not woken_by.wait():
                    return
                woken_by.take()
                found = list(news())
                failed = ""
            except HoldfastError as error:
                if woken_by.closed:
                    return
                if error.message != failed:
                    failed = error.message
                    log.warning("what %s is told could not be read: %s", what, failed)
                woken_by.touch()  # it is still to be told
                woken_by.pause()
                continue
            for one in found:
                if woken_by.closed:
                    return
                tell(one)

    threading.Thread(target=run, name="holdfast-events", daemon=True).start()
    return woken_by.close
