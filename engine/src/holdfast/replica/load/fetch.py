"""Fetching files, over cuts, crashes and restarts, and believing them when they are whole.

Knows: a folder beside the replica, and the way to the server. Must not know: the replica's
database, or what is in a file.
What has arrived is kept as ``<sha256>.part``; whoever comes next, in this process or after a crash,
reads it again and goes on behind it. A file counts when its length and SHA-256 are those of the
offer and it unpacks to exactly the size that was told; else all of it is thrown away.

Upholds I31 (pieces, sizes and tries are bounded; only files of the newest offers are kept) and I33
(a full disk is told, and given back).
"""

from __future__ import annotations

import errno
import hashlib
import queue
import re
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from holdfast.core.errors import FileRefused, Offline, ProtocolError, SyncError
from holdfast.core.limits import (
    FILE_GAIN_BYTES_MIN,
    FILE_PIECE_BYTES,
    FILE_PIECES_AHEAD_MAX,
    FILE_SPACE_SHARE,
    FILE_TRIES_MAX,
    FILE_UNPACKED_BYTES_MAX,
)
from holdfast.protocol.compression import ENCODINGS, Unpacker
from holdfast.protocol.messages import FileOffer
from holdfast.replica.failures import incomplete
from holdfast.replica.http.downloads import FileAnswer
from holdfast.sqlite.failpoints import failpoint

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileTransport(Protocol):
    """The part of a transport that brings files."""

    def file(self, path: str, *, start: int, sha256: str) -> AbstractContextManager[FileAnswer]: ...


class DownloadFolder:
    """The folder of files of one replica. Used only by the process that syncs it."""

    def __init__(self, replica: str) -> None:
        self._folder = Path(f"{replica}-files")

    def part(self, offer: FileOffer) -> Path:
        return self._folder / f"{offer.sha256}.part"

    def unpacked(self, offer: FileOffer) -> Path:
        return self._folder / f"{offer.sha256}.{offer.kind}"

    def prepare(self, offers: Collection[FileOffer]) -> None:
        """Keep what has arrived of these, and nothing else; see that there is room for them.

        Raises ``SyncError`` (``disk_full``, ``file_not_kept``), or ``FileRefused`` for an offer
        that makes no sense.
        """
        for offer in offers:
            _check_offer(offer)
        wanted = {path for offer in offers for path in (self.part(offer), self.unpacked(offer))}
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for path in self._folder.iterdir():
                if path not in wanted:
                    path.unlink()
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise not_kept(error) from None
        need = 0
        for offer in offers:
            there = sum(_size(path) for path in (self.part(offer), self.unpacked(offer)))
            need += max(0, offer.bytes + FILE_SPACE_SHARE * offer.unpacked_bytes - there)
        if need > free:
            raise SyncError(
                f"a first load needs about {need // 2**20 + 1} MiB of disk, "
                f"{free // 2**20} are free",
                code="disk_full",
            )

    def clear(self) -> None:
        """Remove everything; also what a crash has left."""
        if self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _check_offer(offer: FileOffer) -> None:
    sane = (
        _SHA256.fullmatch(offer.sha256) is not None
        and offer.encoding in ENCODINGS
        and offer.bytes > 0
        and 0 < offer.unpacked_bytes <= FILE_UNPACKED_BYTES_MAX
        and offer.rows >= 0
    )
    if not sane:
        raise FileRefused("the offer of a file is invalid")


class Fetcher:
    """Brings files into the folder. ``told`` hears how many bytes of a file are there."""

    def __init__(
        self, folder: DownloadFolder, transport: FileTransport, told: Callable[[int], None]
    ) -> None:
        self._folder = folder
        self._transport = transport
        self._told = told

    def fetch(self, offer: FileOffer) -> Path:
        """The file, unpacked and whole. Raises ``Offline``, ``ServerTrouble``, ``FileGone``,
        ``FileRefused`` or ``SyncError`` (``disk_full``, ``file_not_kept``); what has arrived
        is kept where that helps.
        """
        for _ in range(FILE_TRIES_MAX):
            with _room(self._folder, offer):
                arriving = Arriving(self._folder.part(offer), self._folder.unpacked(offer), offer)
                try:
                    with arriving:
                        arriving.resume()
                        self._rest(arriving, offer)
                        arriving.finish()
                        failpoint("files.downloaded")
                        return self._folder.unpacked(offer)
                except ProtocolError:  # what unpacks it says so
                    arriving.discard()
        raise FileRefused("a file did not match its offer, twice")

    def _rest(self, arriving: Arriving, offer: FileOffer) -> None:
        """Ask for what is missing, until nothing is."""
        self._told(arriving.size)
        while arriving.size < offer.bytes:
            before = arriving.size
            try:
                with self._transport.file(offer.path, start=before, sha256=offer.sha256) as answer:
                    if answer.start != before:
                        arriving.restart()
                        before = 0
                    for piece in answer.pieces:
                        arriving.write(piece)
                        self._told(arriving.size)
                        failpoint("files.mid")
                if arriving.size == before:
                    raise incomplete("a part of a file was empty")
            except Offline:
                if arriving.size - before < FILE_GAIN_BYTES_MIN:
                    raise


class _Unpacking:
    """Unpacks what arrives on a thread of its own, so that the wire and the unpacking do not wait
    for each other. What goes wrong is raised by a later ``feed``, or at the ``end``."""

    def __init__(self, unpacker: Unpacker, target: BinaryIO) -> None:
        self._unpacker = unpacker
        self._target = target
        self._pieces: queue.Queue[bytes | None] = queue.Queue(maxsize=FILE_PIECES_AHEAD_MAX)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="holdfast-unpack", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while (piece := self._pieces.get()) is not None:
                for out in self._unpacker.feed(piece):
                    self._target.write(out)
            return
        except Exception as error:  # noqa: BLE001 - raised where the pieces come from
            self._failure = error
        while self._pieces.get() is not None:
            pass  # whoever feeds it must never wait for nothing

    def feed(self, piece: bytes) -> None:
        self._told()
        self._pieces.put(piece)

    def end(self) -> None:
        """All pieces are unpacked. Raises what went wrong."""
        self.stop()
        self._told()

    def stop(self) -> None:
        """Let go of the file; more than once is fine."""
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()

    def _told(self) -> None:
        if self._failure is not None:
            raise self._failure


class Arriving:
    """One file on its way: its bytes so far, their hash, and what they unpack to."""

    def __init__(self, part: Path, unpacked: Path, offer: FileOffer) -> None:
        self._part_path = part
        self._unpacked_path = unpacked
        self._offer = offer
        self._part: BinaryIO = part.open("a+b")
        self._unpacked: BinaryIO = unpacked.open("wb")
        self._begin()

    def _begin(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._unpacked.seek(0)
        self._unpacked.truncate()
        # Any ratio: equal values in many rows shrink to almost nothing, and there is room on the
        # disk for what the offer says it unpacks to.
        self._unpacker = Unpacker(self._offer.encoding, bytes_max=self._offer.unpacked_bytes)
        self._unpacking = _Unpacking(self._unpacker, self._unpacked)

    def resume(self) -> None:
        """Take in again what is there from before."""
        self._part.seek(0)
        while piece := self._part.read(FILE_PIECE_BYTES):
            self._take(piece)

    def restart(self) -> None:
        """The server sends it from its first byte."""
        self._part.truncate(0)
        self._unpacking.stop()
        self._begin()

    def write(self, piece: bytes) -> None:
        """The next bytes. Raises ``ProtocolError`` when they cannot be of this file."""
        self._part.write(piece)
        self._take(piece)

    def _take(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._offer.bytes:
            raise ProtocolError("it is longer than offered", code="too_large")
        self._unpacking.feed(piece)
        self._hash.update(piece)

    def finish(self) -> None:
        """Everything is there. Raises ``ProtocolError`` when it is not what was offered."""
        self._unpacking.end()
        self._unpacker.finish()
        if self._hash.hexdigest() != self._offer.sha256:
            raise ProtocolError("its SHA-256 does not match", code="bad_encoding")
        if self._unpacked.tell() != self._offer.unpacked_bytes:
            raise ProtocolError("its unpacked size does not match", code="bad_encoding")

    def discard(self) -> None:
        for path in (self._part_path, self._unpacked_path):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._unpacking.stop()
        with suppress(OSError):  # a full disk has been told by the write that met it
            self._part.close()
        with suppress(OSError):
            self._unpacked.close()


@contextmanager
def _room(folder: DownloadFolder, offer: FileOffer) -> Iterator[None]:
    """A disk that is full meanwhile: nothing of the file stays, local work needs the space."""
    try:
        yield
    except OSError as error:
        for path in (folder.part(offer), folder.unpacked(offer)):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise not_kept(error) from None


def not_kept(error: OSError) -> SyncError:
    """Return what keeps a file from being here, as an error with a stable code."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SyncError("no space left for a file of the server", code="disk_full")
    return SyncError(f"a file of the server cannot be stored: {error}", code="file_not_kept")
