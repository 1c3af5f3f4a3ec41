"""A whole, verified answer: received to its last line before any of it is believed.

Knows: lines, and where they are kept meanwhile. Must not know: sockets, or the replica's database.
Upholds I10 (without its checkpoint line an answer is nothing) and I31 (a large answer goes to a
temporary file, within limits).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from holdfast.core.errors import Offline, ProtocolError, SyncError
from holdfast.core.limits import (
    RESPONSE_BYTES_MAX,
    RESPONSE_LINE_BYTES_MAX,
    RESPONSE_MEMORY_BYTES_MAX,
)
from holdfast.protocol.codec import decode_line
from holdfast.protocol.messages import Checkpoint, Files, Gone, Head, Line, Own, RangeAnswer, Rows
from holdfast.protocol.version import PROTOCOL
from holdfast.replica.failures import incomplete, not_ours

_FILES = b'{"type":"files"'
"""Lines of rows are long, and are not to be read twice."""


class SpooledAnswer:
    """``head``, ``checkpoint``, and the lines between them. Close it when it is stored, or not.

    ``sent_us``, ``received_us``: the device's clock when the request left and the answer began.
    """

    def __init__(
        self, spool: Spool, *, head: Head, checkpoint: Checkpoint, sent_us: int, received_us: int
    ) -> None:
        self.head = head
        self.checkpoint = checkpoint
        self.sent_us = sent_us
        self.received_us = received_us
        self._spool = spool

    def lines(self) -> Iterator[Rows | Own | Gone | RangeAnswer]:
        """The lines between the first and the last, from the start at each call.

        Raises ``Offline`` (``broken_answer``) at a line that is not one of these.
        """
        for raw in self._spool.middle():
            line = _decode(raw)
            if isinstance(line, Head | Checkpoint | Files):
                raise incomplete(f"an unexpected line: {type(line).__name__.lower()}")
            yield line

    def files(self) -> Files | None:
        """The line that stands in place of rows; then the answer settles nothing.

        Raises ``Offline`` (``broken_answer``) when there is more beside it.
        """
        for raw in self._spool.middle():
            if not raw.startswith(_FILES):
                return None
            line = _decode(raw)
            if isinstance(line, Files):
                if self.checkpoint.lines != 2 or self.checkpoint.scopes:
                    raise incomplete("files and rows in one answer")
                return line
            return None
        return None

    def close(self) -> None:
        """Let go of memory and temporary file; more than once is fine."""
        self._spool.close()


class Spool:
    """Collects the body of an answer, in memory while it is small, and finds its lines."""

    def __init__(self, *, directory: Path | None = None) -> None:
        self._file = cast(
            BinaryIO,
            tempfile.SpooledTemporaryFile(  # noqa: SIM115 - lives as long as the answer
                max_size=RESPONSE_MEMORY_BYTES_MAX,
                prefix="holdfast-",
                dir=None if directory is None else str(directory),
            ),
        )
        self._size = 0
        self._lines = 0
        self._line_start = 0
        self._last_start = 0
        self._first_end = 0

    def write(self, piece: bytes) -> None:
        """Take in the next piece, within the limits of an answer."""
        first = piece.find(b"\n")
        last = piece.rfind(b"\n")
        longest = (first if first >= 0 else len(piece)) + self._size - self._line_start
        if longest > RESPONSE_LINE_BYTES_MAX or self._size + len(piece) > RESPONSE_BYTES_MAX:
            raise incomplete("it is larger than is allowed")
        try:
            self._file.write(piece)
        except OSError as error:
            raise SyncError(
                f"no space left for the server's response: {error}", code="disk_full"
            ) from None
        if first >= 0:
            before_last = piece.rfind(b"\n", 0, last)
            self._first_end = self._first_end or self._size + first + 1
            self._last_start = (
                self._size + before_last + 1 if before_last >= 0 else self._line_start
            )
            self._line_start = self._size + last + 1
            self._lines += piece.count(b"\n")
        self._size += len(piece)

    def finish(self, *, echo: str, sent_us: int, received_us: int) -> SpooledAnswer:
        """The answer, if it is whole and the one that was asked for; else raises ``Offline``."""
        if self._line_start != self._size or self._lines < 2:
            raise incomplete("its last line is missing")
        head = _decode(self._part(0, self._first_end))
        if not isinstance(head, Head) or head.protocol != PROTOCOL:
            raise not_ours("its first line is not a head")
        if head.echo != echo:
            raise not_ours("it has the echo of another request")
        checkpoint = _decode(self._part(self._last_start, self._size))
        if not isinstance(checkpoint, Checkpoint):
            raise incomplete("its last line is missing")
        if checkpoint.lines != self._lines - 1:
            raise incomplete(f"{self._lines - 1} of {checkpoint.lines} lines")
        return SpooledAnswer(
            self, head=head, checkpoint=checkpoint, sent_us=sent_us, received_us=received_us
        )

    def middle(self) -> Iterator[bytes]:
        """All lines but the first and the last."""
        position = self._first_end
        while position < self._last_start:
            self._file.seek(position)
            line = self._file.readline()
            position += len(line)
            yield line

    def close(self) -> None:
        self._file.close()

    def _part(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(end - start)


def receive(
    pieces: Iterable[bytes],
    *,
    echo: str,
    sent_us: int,
    received_us: int,
    directory: Path | None = None,
) -> SpooledAnswer:
    """Take in a body to its end. Raises ``Offline``: ``broken_answer`` or ``not_our_server``."""
    spool = Spool(directory=directory)
    try:
        for piece in pieces:
            spool.write(piece)
        return spool.finish(echo=echo, sent_us=sent_us, received_us=received_us)
    except BaseException:
        spool.close()
        raise


def _decode(raw: bytes) -> Line:
    try:
        return decode_line(raw)
    except ProtocolError as error:
        raise _unreadable(error) from None


def _unreadable(error: ProtocolError) -> Offline:
    return incomplete(error.message)
