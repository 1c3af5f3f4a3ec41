"""Makes files in the background: a few at a time, each by one process only.

Knows: tasks, their order, their progress. Must not know: what is in a file, or who wants it.
Nobody waits here for a file; who wants it asks again. What cannot be made is not tried again for a
while. A crash leaves nothing that is ever found (``files.Build``).

Upholds I31: work, waiting tasks and the bytes of all files are bounded.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.core.errors import DatabaseBusy, DatabaseFull, HoldfastError
from holdfast.core.limits import (
    CATCHUP_KEEP_S,
    FILE_BUILDERS_MAX,
    FILE_BUILDS_WAITING_MAX,
    FILE_FAILED_S,
    FILE_LINK_S,
    FILE_PIECE_BYTES,
    FILE_TELL_ROWS,
    FILES_BYTES_MAX,
    SNAPSHOT_KEEP_S,
)
from holdfast.protocol.compression import Encoding, Packer
from holdfast.server.process.observe import FileBuilt, Observer, nobody
from holdfast.server.store.files import Build, FileKind, FileStore, ReachedVersion, StoredFile
from holdfast.sqlite.failpoints import failpoint

logger = logging.getLogger(__name__)

_US: Final = 1_000_000
_KEEP_S: Final[Mapping[FileKind, int]] = {"snapshot": SNAPSHOT_KEEP_S, "catchup": CATCHUP_KEEP_S}
_GRACE_US: Final = 2 * FILE_LINK_S * _US
"""What is offered no more may still be fetched by paths that are out."""


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A file that was written: how many rows, and the versions it has of its scopes."""

    rows: int
    scopes: dict[str, ReachedVersion]


@dataclass(frozen=True, slots=True)
class FileTask:
    """A file to be made. ``write`` puts it at a path, not compressed, and tells how many rows it
    has written now and then. ``newest``: the file of this key that whoever asks has looked at, if
    any; where there is another by now, that one is looked at first, and none is made."""

    key: str
    kind: FileKind
    encoding: Encoding
    total: int
    newest: StoredFile | None
    write: Callable[[Path, Callable[[int], None]], BuiltFile]


class _Stopped(Exception):
    """The server stops; what is half done is thrown away."""


class Builder:
    """The background work of one process on a store of files."""

    def __init__(
        self,
        files: FileStore,
        *,
        now_us: Callable[[], int],
        bytes_max: int = FILES_BYTES_MAX,
        observer: Observer = nobody,
    ) -> None:
        self._files = files
        self._now_us = now_us
        self._bytes_max = bytes_max
        self._observer = observer
        self._lock = threading.Condition()
        self._rows: dict[str, int] = {}
        self._waiting: deque[FileTask] = deque()
        self._failed: dict[str, int] = {}
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def ask(self, task: FileTask) -> tuple[int, int] | None:
        """Have a file made, unless it is being made: how far it is. None: it cannot be made now."""
        with self._lock:
            now = self._now_us()
            self._failed = {key: ends for key, ends in self._failed.items() if ends > now}
            if self._stopped or task.key in self._failed:
                return None
            rows = self._rows.get(task.key)
            if rows is None and len(self._waiting) < FILE_BUILDS_WAITING_MAX:
                self._rows[task.key] = 0
                self._waiting.append(task)
                self._start()
                self._lock.notify()
        if rows:
            return rows, task.total
        rows, total = self._files.progress(task.key)  # another process may be at it
        return rows, max(total, task.total)

    def _start(self) -> None:
        busy = len(self._rows) - len(self._waiting) + 1
        if len(self._threads) < min(busy, FILE_BUILDERS_MAX):
            name = f"holdfast-files-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            began, size = time.monotonic(), None
            try:
                size = self._make(task)
            except _Stopped:
                return
            except Exception as error:
                trace = None if isinstance(error, HoldfastError) else error
                logger.warning("a file could not be made: %s", error, exc_info=trace)
                if not isinstance(error, DatabaseBusy):  # that may be better in a moment
                    with self._lock:
                        self._failed[task.key] = self._now_us() + FILE_FAILED_S * _US
            finally:
                with self._lock:
                    self._rows.pop(task.key, None)
            if size != 0:  # or somebody else has made it
                ms = (time.monotonic() - began) * 1000
                self._observer(
                    FileBuilt(kind=task.kind, ms=ms, size_bytes=size or 0, ok=size is not None)
                )

    def _next(self) -> FileTask | None:
        with self._lock:
            self._lock.wait_for(lambda: self._stopped or self._waiting)
            return None if self._stopped else self._waiting.popleft()

    def _make(self, task: FileTask) -> int:
        """The size of the file, in bytes; 0 when somebody else makes it, or has made it."""
        build = self._files.begin(task.key)
        if build is None:
            return 0
        with contextlib.closing(build):
            found = self._files.find(task.key)
            if found is not None and (task.newest is None or found.id != task.newest.id):
                return 0
            self.tidy()
            build.tell(0, task.total)
            source = build.directory / "file"
            made = task.write(source, lambda rows: self._tell(build, task, rows))
            failpoint("file.written")
            packed = build.directory / "packed"
            file = self._pack(task, made, source, packed)
            self._make_room(file.bytes)
            failpoint("file.before_keep")
            build.keep(file, packed)
            failpoint("file.kept")
            return file.bytes

    def _tell(self, build: Build, task: FileTask, rows: int) -> None:
        if self._stopped:
            raise _Stopped
        with self._lock:
            before = self._rows.get(task.key, 0)
            self._rows[task.key] = rows
        if rows // FILE_TELL_ROWS > before // FILE_TELL_ROWS:
            build.tell(rows, task.total)

    def _pack(self, task: FileTask, made: BuiltFile, source: Path, target: Path) -> StoredFile:
        packer = Packer(task.encoding, lasting=True)
        digest = hashlib.sha256()
        size = 0
        with source.open("rb") as plain, target.open("wb") as packed:
            while piece := plain.read(FILE_PIECE_BYTES):
                if self._stopped:
                    raise _Stopped
                out = packer.compress(piece)
                digest.update(out)
                size += packed.write(out)
            out = packer.finish()
            digest.update(out)
            size += packed.write(out)
        now = self._now_us()
        sha256 = digest.hexdigest()
        name = f"{task.key} {sha256} {now}".encode()
        return StoredFile(
            id=hashlib.blake2s(name, digest_size=16).hexdigest(),
            key=task.key,
            kind=task.kind,
            encoding=task.encoding,
            bytes=size,
            sha256=sha256,
            unpacked_bytes=source.stat().st_size,
            rows=made.rows,
            scopes=made.scopes,
            made=now,
            ends=now + _KEEP_S[task.kind] * _US,
        )

    def tidy(self) -> None:
        """Remove files that nobody may fetch any more, and what crashes have left."""
        now = self._now_us()
        self._files.tidy()
        newest: dict[str, int] = {}
        listed = self._files.listed()
        for file in listed:
            newest[file.key] = max(file.made, newest.get(file.key, 0))
        for file in listed:
            replaced = newest[file.key] if newest[file.key] > file.made else now
            if now > min(file.ends, replaced) + _GRACE_US:
                self._files.remove(file.id)

    def _make_room(self, size: int) -> None:
        """Raises ``DatabaseFull`` when only files that are being fetched could make it."""
        listed = sorted(self._files.listed(), key=lambda file: file.made)
        total = size + sum(file.bytes for file in listed)
        for file in listed:
            if total <= self._bytes_max:
                return
            if self._now_us() > file.made + _GRACE_US:
                self._files.remove(file.id)
                total -= file.bytes
        if total > self._bytes_max:
            raise DatabaseFull(f"all files together would have more than {self._bytes_max} bytes")

    def close(self) -> None:
        """Stop; what is half made is thrown away."""
        with self._lock:
            self._stopped = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join()
