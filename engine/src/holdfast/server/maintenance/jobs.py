"""Maintenance: what a server does by itself, in threads of its own.

Knows: jobs, when each is due, and that some are done by one process at a time. Must not know: what
a job does.
Direct writes are looked for all the time, in every process. The other jobs are rare and may be
long: a second thread asks the database when each was last done by anybody, and does it alone. A
job that fails is logged and done again when it is due again; it never ends the thread.

Upholds I31 and I36 (damage does not pass unnoticed).
"""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.core.errors import HoldfastError
from holdfast.core.limits import (
    FOREIGN_WRITE_POLL_MS,
    MAINTENANCE_BETWEEN_BITES_MS,
    MAINTENANCE_LOOK_MS,
)
from holdfast.server.process.observe import JobRan, Observer, nobody
from holdfast.server.store.contract import Store

log = logging.getLogger("holdfast.server.maintenance")


Proceed = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that is due every so often. ``run`` asks, as often as it can, whether to go on."""

    name: str
    every_ms: int
    run: Callable[[Proceed], object]


class Maintenance:
    """Two threads, from ``start`` to ``close``."""

    def __init__(
        self,
        store: Store,
        *,
        poll: Callable[[], object],
        look: Callable[[], object] = lambda: None,
        jobs: Sequence[Job],
        now_us: Callable[[], int],
        observer: Observer = nobody,
        look_ms: float = MAINTENANCE_LOOK_MS,
    ) -> None:
        """``poll``: several times a second, ``look``: before jobs are looked for, in each process
        by itself."""
        self._store = store
        self._poll = poll
        self._look = look
        self._jobs = jobs
        self._now_us = now_us
        self._observer = observer
        self._look_ms = look_ms
        self._jitter = random.Random()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"holdfast-{name}", daemon=True)
            for name, target in (("watcher", self._watch), ("maintenance", self._maintain))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End both; a job under way ends at its next bite."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _watch(self) -> None:
        told = ""
        while not self._stop.wait(FOREIGN_WRITE_POLL_MS / 1000):
            try:
                self._poll()
                told = ""
            except Exception as error:
                # The same trouble is said once, not five times a second for as long as it lasts.
                if str(error) == told:
                    continue
                told = str(error)
                trace = None if isinstance(error, HoldfastError) else error
                log.warning("direct writes cannot be taken in yet: %s", told, exc_info=trace)

    def _maintain(self) -> None:
        while not self._stop.wait(self._jitter.uniform(0.5, 1.5) * self._look_ms / 1000):
            self._try("a look", self._look)
            for job in self._jobs:
                if self._stop.is_set():
                    return
                self._try(job.name, functools.partial(self.run_if_due, job))

    def _try(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except HoldfastError as error:
            log.warning("maintenance: %s is put off: %s", name, error)
        except Exception:
            log.exception("maintenance: %s failed", name)

    def run_if_due(self, job: Job) -> bool:
        """Do a job if nobody has done it for long enough, or does it now; whether it was done."""
        if not self._is_due(job):
            return False
        with self._store.alone(job.name) as alone:
            if not alone or not self._is_due(job):
                return False
            self._run(job)
        return True

    def _is_due(self, job: Job) -> bool:
        now_us = self._now_us()
        last = self._store.transact(lambda writer: writer.upkeep.last_run(job.name))
        return not 0 <= now_us - last < job.every_ms * 1000

    def _run(self, job: Job) -> None:
        """It counts as done also when it fails, so that a job that cannot be done is not done all
        the time; one that is told to stop is done again."""
        began, ok = time.monotonic(), False
        try:
            job.run(self._proceed)
            ok = True
        finally:
            ms = (time.monotonic() - began) * 1000
            self._observer(JobRan(job=job.name, ms=ms, ok=ok))
            if not self._stop.is_set():
                now_us = self._now_us()
                self._store.transact(lambda writer: writer.upkeep.ran(job.name, now_us))
        log.info("maintenance: %s took %d ms", job.name, ms)

    def _proceed(self) -> bool:
        return not self._stop.wait(MAINTENANCE_BETWEEN_BITES_MS / 1000)
