"""A replica's file is opened sound, or made so: once, and never in a circle.

Knows: when a file is looked at, salvaged and opened again. Must not know: how it is salvaged.
Whatever is found to be damaged while the file is open leaves a mark beside it, so that the next
open, by whichever process, checks it from end to end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from holdfast.core.errors import DatabaseCorrupt
from holdfast.replica.host import Host
from holdfast.replica.salvage.keeping import suspect, suspicion
from holdfast.replica.salvage.salvage import SalvageReport, is_sound, salvage
from holdfast.replica.storage.database import LocalDatabase
from holdfast.schema.model import Schema
from holdfast.sqlite import Driver

log = logging.getLogger("holdfast.salvage")


class SoundFile:
    """One replica's file. ``salvaged``: what was done when it was found damaged."""

    def __init__(
        self,
        path: str,
        schema: Schema | None,
        *,
        driver: Driver,
        host: Host,
        opened: Callable[[], LocalDatabase],
    ) -> None:
        self._path = Path(path)
        self._schema = schema
        self._driver = driver
        self._host = host
        self._opened = opened
        self.salvaged: SalvageReport | None = None

    def open(self) -> LocalDatabase:
        """Open it; a damaged one is salvaged first. Raises what either of the two does."""
        try:
            self._check()
            return self._opened()
        except DatabaseCorrupt as error:
            log.warning("%s is damaged, and is salvaged now: %s", self._path, error.message)
            suspect(self._path)
            self.salvaged = salvage(self._path, self._schema, driver=self._driver, host=self._host)
        return self._opened()

    def _check(self) -> None:
        if suspicion(self._path).exists() and self._path.exists():
            if not is_sound(self._path, self._driver):
                raise DatabaseCorrupt(f"{self._path} is damaged")
            suspicion(self._path).unlink(missing_ok=True)

    def suspect(self) -> None:
        """Have it checked before it is opened again."""
        suspect(self._path)
