"""Open event streams follow what their devices may do, without being asked for one by one.

Knows: the hub, and how to ask for many principals at once. Must not know: HTTP, or a database.
However many streams are open and however much is committed, the database is read only when the
generation of rights has moved: once for all streams of a process. A stream whose device stands no
more ends; one whose rights have changed tells its device to come.

Upholds I23, I26 and I31.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from holdfast.core.errors import HoldfastError
from holdfast.core.limits import RIGHTS_RETRY_S
from holdfast.server.identity.principal import Principal
from holdfast.server.live.events import Hub

log = logging.getLogger(__name__)

Judge = Callable[[Sequence[Principal]], Sequence[Principal | None]]
"""The principals as they are now; None for one that stands no more."""


class RightsWatch:
    """Looks at a hub's streams whenever the generation of rights has moved."""

    def __init__(self, hub: Hub, judge: Judge) -> None:
        self._hub = hub
        self._judge = judge
        self._moved = threading.Event()
        self._stop = threading.Event()
        hub.on_rights = self._moved.set
        self._thread = threading.Thread(target=self._run, name="holdfast-rights", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """More than once is fine."""
        self._hub.on_rights = None
        self._stop.set()
        self._moved.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._moved.wait()
            self._moved.clear()
            if self._stop.is_set():
                return
            try:
                self._hub.review(self._judge)
            except HoldfastError as error:
                log.warning("permissions of open event streams could not be checked yet: %s", error)
                self._again()
            except Exception:
                log.exception("checking the permissions of open event streams failed")
                self._again()

    def _again(self) -> None:
        """Judge again, as soon as possible, what could not be judged."""
        self._stop.wait(RIGHTS_RETRY_S)
        self._moved.set()
