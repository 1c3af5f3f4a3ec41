"""A first load or a large catch-up under way: the files of one exchange, until an answer has rows.

Knows: offers, and in which order what they bring is applied. Must not know: SQL, or HTTP.
An answer that offers files settles nothing. What it offers is fetched and looked at, and the same
exchange is made again from the positions that the files bring; that goes on until an answer has the
rest as rows. Files are kept to that moment, when all of it is applied at once.

Where files do not help (refused, gone too often, too many of them, never ready), the exchange is
made without: then all rows are in the answer. So a file can cost time, and nothing else.

Upholds I10 and I16 (positions of files are told to the server, and stored only with their rows),
I31 (rounds, files and waits are bounded).
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import FileGone, FileRefused, Offline, ProtocolError
from holdfast.core.limits import (
    FILE_AGAIN_MS,
    FILE_BUILD_PATIENCE_MS,
    FILE_ROUNDS_MAX,
    FILE_WAIT_MS_MAX,
    FILES_AT_ONCE_MAX,
    RESPONSE_LINE_BYTES_MAX,
)
from holdfast.protocol.codec import decode_line
from holdfast.protocol.compression import ENCODINGS
from holdfast.protocol.messages import FileOffer, Files, Gone, Head, Position, Rows
from holdfast.replica.load.fetch import DownloadFolder, Fetcher, FileTransport, not_kept
from holdfast.replica.load.snapshot_file import SnapshotFile, SnapshotReader
from holdfast.schema.model import Schema
from holdfast.sqlite import Driver

log = logging.getLogger("holdfast.loading")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Progress of a load. ``stage``: ``building`` (the server makes a file; rows), ``downloading``
    (bytes), ``checking`` and ``importing`` (rows); ``done`` of ``total`` (0: not known)."""

    stage: str
    done: int
    total: int
    scopes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return dataclasses.asdict(self) | {"scopes": list(self.scopes)}


OnProgress = Callable[[Loading | None], None]


class Load:
    """The files of one exchange. Made anew for each; what had arrived before is found again."""

    def __init__(
        self,
        folder: DownloadFolder,
        transport: FileTransport,
        driver: Driver,
        schema: Schema,
        *,
        hash_key: Callable[[str], bytes | None],
        told: OnProgress,
        stopped: threading.Event,
        monotonic_ms: Callable[[], int],
    ) -> None:
        """``hash_key``: of the rows of a scope that is known."""
        self.positions: dict[str, Position] = {}
        """What the files bring, on top of what the replica holds."""
        self.missed: frozenset[str] = frozenset()
        """Scopes of which the server has forgotten removals that this device has not seen."""
        self.snapshots: list[SnapshotFile] = []
        self._catchups: list[Path] = []
        self._offers: list[FileOffer] = []
        self._folder = folder
        self._transport = transport
        self._driver = driver
        self._schema = schema
        self._hash_key = hash_key
        self._told = told
        self._stopped = stopped
        self._monotonic_ms = monotonic_ms
        self._rounds = 0
        self._met = False
        self._wanted = True
        self._grown: tuple[int, int] = (-1, 0)

    @property
    def encodings(self) -> list[str]:
        """Return what the next request says that it can take."""
        full = len(self._offers) >= FILES_AT_ONCE_MAX or self._rounds >= FILE_ROUNDS_MAX
        return list(ENCODINGS) if self._wanted and not full else []

    @property
    def used(self) -> bool:
        """Return whether anything came, or was to come, as a file."""
        return self._met

    @property
    def rows(self) -> int:
        return sum(offer.rows for offer in self._offers)

    def refuse(self) -> None:
        """Refuse what the files had: all rows are to come in the answer."""
        self._wanted = False
        self.positions, self.snapshots, self._catchups, self._offers = {}, [], [], []

    def take(self, head: Head, files: Files) -> None:
        """Fetch what is offered, and wait for what is being made.

        Raises ``SyncError``; what has arrived is kept for the next attempt.
        """
        self._rounds += 1
        self._met = True
        room = FILES_AT_ONCE_MAX - len(self._offers)
        try:
            new = files.offers[:room]
            self._folder.prepare([*self._offers, *new])
            for offer in new:
                self._fetch(head, offer)
        except FileGone:
            self._pause(FILE_AGAIN_MS)
        except FileRefused as error:
            log.warning("a file of the server was refused: %s", error.message)
            self.refuse()
        else:
            if not new:
                self._wait(files)

    def check_kept(self) -> None:
        """Check that what has been fetched is still there: others may tidy up where it lies.

        Raises ``SyncError`` (``file_not_kept``).
        """
        try:
            for path in (*(file.path for file in self.snapshots), *self._catchups):
                path.stat()
        except OSError as error:
            raise not_kept(error) from None

    def lines(self) -> Iterator[Rows | Gone]:
        """The lines of catch-up files. Raises ``FileRefused`` at one that is none, or ``SyncError``
        (``file_not_kept``)."""
        for path in self._catchups:
            for raw in _raw_lines(path):
                try:
                    line = decode_line(raw)
                except ProtocolError as error:
                    raise FileRefused(error.message) from None
                if not isinstance(line, (Rows, Gone)):
                    raise FileRefused("a line out of place")
                yield line

    def importing(self, rows: int) -> None:
        """So many rows are imported. Ends the work, with ``Offline``, when it is to stop."""
        self._check_stopped()
        self._tell("importing", rows, self.rows, tuple(sorted(self.positions)))

    # --- one file -------------------------------------------------------------------------------

    def _fetch(self, head: Head, offer: FileOffer) -> None:
        _check_positions(head, offer)
        if any(offer.id == known.id for known in self._offers):
            raise FileRefused("a file is offered a second time")
        scopes = tuple(sorted(offer.positions))
        fetcher = Fetcher(
            self._folder,
            self._transport,
            lambda size: self._tell("downloading", size, offer.bytes, scopes),
        )
        path = fetcher.fetch(offer)
        if offer.kind == "catchup":
            self._catchups.append(path)
        else:
            ((scope, position),) = offer.positions.items()
            told = head.scopes[scope].key
            hash_key = bytes.fromhex(told) if told else self._hash_key(scope)
            if hash_key is None:
                raise FileRefused(f"there is no key to the hashes of {scope}")
            reader = SnapshotReader(path, self._driver, self._schema, epoch=head.epoch)
            self.snapshots.append(
                reader.check(
                    scope,
                    position,
                    hash_key=hash_key,
                    on_rows=lambda rows: self._tell("checking", rows, offer.rows, scopes),
                )
            )
        self._offers.append(offer)
        self.positions |= offer.positions

    # --- waiting --------------------------------------------------------------------------------

    def _wait(self, files: Files) -> None:
        rows = sum(build.rows for build in files.building)
        total = sum(build.total for build in files.building)
        scopes = {scope for build in files.building for scope in build.scopes}
        # What it is made of may have grown since it was counted.
        self._tell("building", min(rows, total), total, tuple(sorted(scopes)))
        now_ms = self._monotonic_ms()
        if rows != self._grown[0]:
            self._grown = (rows, now_ms)
        if now_ms - self._grown[1] > FILE_BUILD_PATIENCE_MS:
            self._wanted = False
        self._rounds -= 1  # such a round does not count: patience ends it
        self._pause(max(FILE_AGAIN_MS, min(files.retry_after_ms, FILE_WAIT_MS_MAX)))

    def _pause(self, wait_ms: int) -> None:
        self._stopped.wait(wait_ms / 1000)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise Offline("the request was interrupted", code="interrupted")

    def _tell(self, stage: str, done: int, total: int, scopes: tuple[str, ...]) -> None:
        self._check_stopped()
        self._told(Loading(stage=stage, done=done, total=total, scopes=scopes))


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while raw := file.readline(RESPONSE_LINE_BYTES_MAX + 1):
                yield raw
    except OSError as error:
        raise not_kept(error) from None


def _check_positions(head: Head, offer: FileOffer) -> None:
    one = len(offer.positions) == 1 or offer.kind == "catchup"
    if not offer.positions or not one or not offer.positions.keys() <= head.scopes.keys():
        raise FileRefused("a file has positions of scopes that the device cannot read")
