"""Guards around callbacks and threads: background sync does not end with what they raise.

Knows: callbacks and logs. Must not know: what is told, or by whom.
A callback of the app's is not ours: what it raises, ``sys.exit`` of a console that has gone
included, is logged, and nothing stops for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

log = logging.getLogger("holdfast.callbacks")

P = ParamSpec("P")


def outlived(what: str, callback: Callable[P, object]) -> Callable[P, None]:
    """A callback for a thread of ours: whatever it raises is logged."""

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except BaseException:
            log.exception("%s failed; sync continues", what)

    return call


def endured(what: str, callback: Callable[P, object]) -> Callable[P, None]:
    """A callback in the caller's own thread: its errors are logged; who wants to end may."""

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:
            log.exception("%s failed; the work continues", what)

    return call
