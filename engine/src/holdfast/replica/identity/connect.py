"""Connection of a replica to its server: how its transport and its credentials come about.

Knows: what was given at open, what the file remembers, token files and credentials. Must not know:
what is exchanged. Opening uses no network. A token is read anew for each request, and is never
stored in the replica.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from holdfast.core.errors import ReplicaError
from holdfast.replica.host import Host
from holdfast.replica.http.transport import HttpTransport, Transport, checked_url
from holdfast.replica.identity.authority import trusting
from holdfast.replica.identity.credentials import CredentialsFile
from holdfast.replica.identity.enrolment import TokenKeeper
from holdfast.replica.storage.database import LocalDatabase, transaction, write_state

RenewToken = Callable[[int], None]
"""Called with the corrected time before each exchange, to renew what lets the device in."""


def connect(
    database: LocalDatabase,
    host: Host,
    *,
    server: str | None,
    token: str | None,
    token_file: str | Path | None,
) -> tuple[Transport | None, RenewToken | None]:
    """HTTP to the given or remembered server, and what renews its token if somebody must."""
    if server is not None or token_file is not None:
        address = None if server is None else checked_url(server)  # never remember a wrong one
        with transaction(database.app):
            if address is not None:
                write_state(database.app, server=address)
            if token_file is not None:
                write_state(database.app, token_file=str(Path(token_file).resolve()))
    url, path = (str(value) for value in database.state("server", "token_file"))
    if not url:
        return None, None
    trusted = trusting(database.path) if url.startswith("https:") else None

    def http_with(bearer: Callable[[], str]) -> HttpTransport:
        # The offset of the very clock that stamps the changes is to be measured.
        return HttpTransport(url, bearer, now_us=host.now_us, ssl_context=trusted)

    if token is not None:
        given = token
        return http_with(lambda: given), None
    if path:
        return http_with(lambda: read_token(path)), None
    keeper = TokenKeeper(CredentialsFile(database.path), url, database.identity)
    http = http_with(keeper.token)
    return http, functools.partial(keeper.tend, http)


def read_token(path: str) -> str:
    """The token in a file: its first line. Raises ``ReplicaError`` (``no_token``)."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ReplicaError(f"the token file cannot be read: {error}", code="no_token") from None
    if not text:
        raise ReplicaError(f"the token file {path} is empty", code="no_token")
    return text.splitlines()[0].strip()
