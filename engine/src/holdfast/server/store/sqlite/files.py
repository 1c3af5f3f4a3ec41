"""Files in a folder beside an embedded database.

Knows: names in that folder. Must not know: what is in a file.
``ID.data`` is a file, ``ID.json`` what is remembered of it; it is there once that has its name.
``KEY.lock`` is held by whoever makes the file of a key, and says how far it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.core.errors import DatabaseError, DatabaseFull
from holdfast.core.limits import FILE_ABANDONED_S, FILE_PIECE_BYTES
from holdfast.server.store.file_scratch import Scratch, lock, own_folder, remove_abandoned
from holdfast.server.store.files import StoredFile, StoredFileGone, checksum, pieces_of

_ID = re.compile(r"[0-9a-f]{32}\Z")
_SUM_BYTES = 16


class _Record(Struct, frozen=True):
    file: StoredFile
    sums: bytes
    """The checksums of the pieces, one behind the other."""


_read = msgspec.json.Decoder(_Record).decode


class DirectoryFiles:
    """``files.FileStore`` in a folder, which is made when the first file is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}

    def find(self, key: str) -> StoredFile | None:
        found = [file for file in self.listed() if file.key == key]
        return max(found, key=lambda file: file.made, default=None)

    def get(self, file_id: str) -> StoredFile | None:
        record = self._record(file_id)
        return None if record is None else record.file

    def listed(self) -> list[StoredFile]:
        ids = [path.stem for path in self._folder.glob("*.json")]
        return [record.file for name in ids if (record := self._record(name)) is not None]

    def _record(self, file_id: str) -> _Record | None:
        if not _ID.fullmatch(file_id):
            return None
        path = self._folder / f"{file_id}.json"
        with self._lock:
            record = self._records.get(file_id)
        if not path.exists():
            with self._lock:
                self._records.pop(file_id, None)
            return None
        try:
            record = record or _read(path.read_bytes())
        except (OSError, msgspec.DecodeError):
            self.remove(file_id)
            return None
        with self._lock:
            self._records[file_id] = record
        return record

    def piece(self, file: StoredFile, number: int) -> bytes:
        record = self._record(file.id)
        if record is None:
            raise StoredFileGone("the file is no longer available")
        try:
            with (self._folder / f"{file.id}.data").open("rb") as source:
                source.seek(number * FILE_PIECE_BYTES)
                piece = source.read(FILE_PIECE_BYTES)
        except OSError:
            piece = b""
        start = number * _SUM_BYTES
        if checksum(piece) != record.sums[start : start + _SUM_BYTES]:
            self.remove(file.id)
            raise StoredFileGone("the file was damaged")
        return piece

    def begin(self, key: str) -> _DirectoryBuild | None:
        own_folder(self._folder)
        held = lock(self._folder / f"{key}.lock")
        return None if held is None else _DirectoryBuild(self._folder, key, held)

    def progress(self, key: str) -> tuple[int, int]:
        try:
            rows, _, total = (self._folder / f"{key}.lock").read_text().partition(" ")
            return int(rows), int(total)
        except (OSError, ValueError):
            return 0, 0

    def remove(self, file_id: str) -> None:
        with self._lock:
            self._records.pop(file_id, None)
        for suffix in ("json", "data"):  # in this order: it is gone before its bytes are
            with contextlib.suppress(OSError):
                (self._folder / f"{file_id}.{suffix}").unlink()

    def tidy(self) -> None:
        if not self._folder.is_dir():
            return
        remove_abandoned(self._folder)
        before = time.time() - FILE_ABANDONED_S
        for path in self._folder.iterdir():
            orphan = path.suffix == ".data" and not path.with_suffix(".json").exists()
            with contextlib.suppress(OSError):
                if (orphan or path.suffix in (".new", ".lock")) and path.stat().st_mtime < before:
                    self._unlink_free(path)

    @staticmethod
    def _unlink_free(path: Path) -> None:
        if path.suffix != ".lock":
            path.unlink()
        elif (held := lock(path)) is not None:
            path.unlink()
            os.close(held)

    def close(self) -> None:
        """Nothing is open between two calls."""


class _DirectoryBuild:
    def __init__(self, folder: Path, key: str, held: int) -> None:
        self._folder = folder
        self._held = held
        self._path = folder / f"{key}.lock"
        self._scratch = Scratch(folder)

    @property
    def directory(self) -> Path:
        return self._scratch.path

    def tell(self, rows: int, total: int) -> None:
        text = f"{rows} {total}".encode()
        with contextlib.suppress(OSError):
            os.pwrite(self._held, text, 0)
            os.ftruncate(self._held, len(text))

    def keep(self, file: StoredFile, source: Path) -> None:
        sums = b"".join(digest for digest, _ in pieces_of(source))
        record = self._folder / f"{file.id}.new"
        try:
            _sync(source)
            source.replace(self._folder / f"{file.id}.data")
            record.write_bytes(msgspec.json.encode(_Record(file, sums)))
            _sync(record)
            record.replace(self._folder / f"{file.id}.json")
            _sync(self._folder)
        except OSError as error:
            raise _no_room(error) from None

    def close(self) -> None:
        self._scratch.close()
        if self._held >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._held)
            self._held = -1


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_room(error: OSError) -> DatabaseError:
    return DatabaseFull(f"a file could not be stored: {error}")
