"""What the HTTP shell asks of the service behind it, and of whoever says who is asking.

Knows: the shapes of both. Must not know: HTTP's wire, a database, or how a token is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from holdfast.protocol.messages import ExchangeRequest, Line, VerifyRequest
from holdfast.schema.model import Schema
from holdfast.server.files import StoredFile
from holdfast.server.journal import JournalPage
from holdfast.server.principal import Principal
from holdfast.server.store import Snapshot

Authenticator = Callable[[Mapping[str, str]], Principal | None]
"""Takes a request's headers (names in lower case), gives who is asking.

Called in a worker thread, before a body is read; so it is a plain function. For a missing, unknown
or revoked token it raises ``ProtocolError`` with status 401 and code ``sign_in``; ``None``, or a
``LookupError`` such as a dict's ``KeyError``, says the same.
"""


@runtime_checkable
class StandingAuthenticator(Protocol):
    """An authenticator whose principals are kept in the server's own database.

    What it says is asked for again inside each transaction. Its ``registered`` principals are
    watched: open event streams learn of changes by the generation of rights, without being asked
    for one by one.
    """

    def __call__(self, headers: Mapping[str, str]) -> Principal | None: ...

    def standing(
        self, reads: Snapshot, principals: Sequence[Principal]
    ) -> Sequence[Principal | None]:
        """The principals with their rights as of these reads; None for one that stands no more.

        In a write transaction what was told stays so until the commit.
        """
        ...


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
