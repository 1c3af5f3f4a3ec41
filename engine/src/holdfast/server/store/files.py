"""The contract of where files are kept: made once, immutable, read piece by piece.

Knows: what is remembered of a file. Must not know: what is in it, who may have it, or HTTP.
A file appears whole and durable, or not at all. Each piece has a checksum that is looked at
whenever it is read; a file with a damaged piece is removed, and made anew when it is next wanted.

Upholds I31 (pieces are bounded), and that a crash leaves nothing that is ever offered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from holdfast.core.digest import Digest
from holdfast.core.errors import DatabaseError
from holdfast.core.limits import FILE_PIECE_BYTES
from holdfast.protocol.compression import Encoding

FileKind = Literal["snapshot", "catchup"]


class ReachedVersion(Struct, frozen=True):
    """The version of a scope that a file brings, with its count of rows and digest."""

    version: int
    count: int
    digest: str

    @property
    def total(self) -> Digest:
        return Digest.of(self.count, self.digest)


class StoredFile(Struct, frozen=True):
    """A file that is there. ``key``: what it is of; the same for all files that could stand for it.

    ``made`` and ``ends``: microseconds; from ``ends`` on it is offered no more.
    """

    id: str
    key: str
    kind: FileKind
    encoding: Encoding
    bytes: int
    sha256: str
    unpacked_bytes: int
    rows: int
    scopes: dict[str, ReachedVersion]
    made: int
    ends: int


class StoredFileGone(DatabaseError):
    """The file is not there any more, or was damaged and has been removed."""

    code = "not_found"


class Build(Protocol):
    """The right to make the file of one key. Nobody else has it until it is closed."""

    @property
    def directory(self) -> Path:
        """A folder of this machine for what is made on the way; it goes when this is closed."""

    def tell(self, rows: int, total: int) -> None:
        """Let everybody know how far it is."""

    def keep(self, file: StoredFile, source: Path) -> None:
        """Take in a finished file, from ``directory``; it is there when this returns."""

    def close(self) -> None: ...


class FileStore(Protocol):
    """Files, shared by all server processes of a database. All methods from any thread."""

    def find(self, key: str) -> StoredFile | None:
        """The newest file of a key."""

    def get(self, file_id: str) -> StoredFile | None: ...

    def piece(self, file: StoredFile, number: int) -> bytes:
        """The piece that starts at ``number * FILE_PIECE_BYTES``. Raises ``StoredFileGone``."""

    def begin(self, key: str) -> Build | None:
        """Start making the file of a key; None while anybody else does."""

    def progress(self, key: str) -> tuple[int, int]:
        """Return what whoever makes the file of a key has told last: rows and total."""

    def listed(self) -> list[StoredFile]: ...

    def remove(self, file_id: str) -> None: ...

    def tidy(self) -> None:
        """Remove what crashes have left."""

    def close(self) -> None: ...


def pieces_of(source: Path) -> Iterator[tuple[bytes, bytes]]:
    """A file in pieces, each with its checksum."""
    with source.open("rb") as file:
        while piece := file.read(FILE_PIECE_BYTES):
            yield checksum(piece), piece


def checksum(piece: bytes) -> bytes:
    return hashlib.blake2s(piece, digest_size=16).digest()
