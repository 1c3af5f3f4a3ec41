"""The service as the HTTP shell sees it.

Knows: its shape. Must not know: HTTP's wire, or a database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from holdfast.protocol.messages import ExchangeRequest, Line, VerifyRequest
from holdfast.schema.model import Schema
from holdfast.server.identity.principal import Principal
from holdfast.server.merging.journal import JournalPage
from holdfast.server.store.files import StoredFile


class ExchangeService(Protocol):
    """The server without HTTP. All methods may be called from any thread, also at the same time.

    A service tells news by calling the ``on_commit`` it was made with after each commit, with the
    scopes that moved and their versions (``Hub.publish`` takes them).
    """

    @property
    def epoch(self) -> str:
        """The identity of the server's history."""
        ...

    @property
    def schema(self) -> Schema: ...

    def exchange(
        self, principal: Principal, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]:
        """Take in pending transactions, then yield outcomes and news.

        What was pushed is committed, and the snapshot that is read from is taken, before the first
        line comes. Lines are taken by one thread at a time, not always the same one. Closing the
        iterator, at any line, releases the snapshot. Raises ``ProtocolError`` before the first
        line for a request that is refused whole.
        """
        ...

    def verify(self, principal: Principal, request: VerifyRequest, *, echo: str) -> Iterator[Line]:
        """Yield news and digests of ranges; as ``exchange`` in all else."""
        ...

    def heads(self, principal: Principal) -> dict[str, int]:
        """The scopes that may be read, with their newest versions."""
        ...

    def journal_page(
        self, principal: Principal, *, table: str, key: str, before: int, limit: int
    ) -> JournalPage:
        """Automatic decisions about rows that may be read, newest first; encodable as JSON."""
        ...

    def file(self, file_id: str, until: str, sign: str) -> StoredFile:
        """A file that an exchange has offered, by the parts of its path.

        Raises ``ProtocolError`` (``not_found``), the same for whatever is wrong with the path.
        """
        ...

    def piece(self, file: StoredFile, number: int) -> bytes:
        """A piece of a file, from ``number * FILE_PIECE_BYTES`` on. Raises ``FileGone``."""

    def check_ready(self) -> None:
        """Raises ``DatabaseError`` when the database cannot be reached or written."""
        ...

    def now_us(self) -> int:
        """The server's clock: microseconds since 1970, UTC."""
        ...

    def close(self) -> None: ...
