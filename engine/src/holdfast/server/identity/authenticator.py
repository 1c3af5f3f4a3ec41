"""Authenticators: from a request's headers to a principal.

Knows: their shape. Must not know: HTTP's wire, or how a token is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from holdfast.server.identity.principal import Principal
from holdfast.server.store.contract import Snapshot

Authenticator = Callable[[Mapping[str, str]], Principal | None]
"""Takes a request's headers (names in lower case), gives who is asking.

Called in a worker thread, before a body is read; so it is a plain function. For a missing, unknown
or revoked token it raises ``ProtocolError`` with status 401 and code ``sign_in``; ``None``, or a
``LookupError`` such as a dict's ``KeyError``, says the same.
"""


@runtime_checkable
class Reauthenticator(Protocol):
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
