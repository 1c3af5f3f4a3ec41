"""Reading answers off the wire, with every failure of the way explained.

Knows: httpx2's responses and exceptions. Must not know: which answers are ours, or what is in them.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator

import httpx2

from holdfast.core.errors import Offline, ProtocolError
from holdfast.core.limits import (
    SMALL_BODY_BYTES_MAX,
)
from holdfast.protocol.compression import ENCODINGS, Unpacker
from holdfast.replica.failures import incomplete, not_ours
from holdfast.replica.http.sockets import RequestTime


@contextlib.contextmanager
def explained(turn: RequestTime) -> Iterator[None]:
    """Failures of the way as ``Offline``."""
    try:
        yield
    except (httpx2.HTTPError, Offline) as error:
        if turn.interrupted:
            raise Offline("the request was interrupted", code="interrupted") from None
        if isinstance(error, Offline):
            raise
        raise _offline(error) from None


def _offline(error: httpx2.HTTPError) -> Offline:
    """Return why there was no answer. ``unsent`` in the detail: the request did not leave the
    device.
    """
    untrusted = _untrusted(error)
    if untrusted:
        return Offline(
            f"this device does not trust the server's certificate ({untrusted}). If its authority "
            "is your own, name the authority's certificate once, --ca authority.crt, or for "
            "everything: SSL_CERT_FILE=authority.crt",
            code="tls_untrusted",
            cause=str(error),
            unsent=True,
        )
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        code = "timeout" if isinstance(error, httpx2.TimeoutException) else "unreachable"
        return Offline("the server cannot be reached", code=code, cause=str(error), unsent=True)
    if isinstance(error, httpx2.TimeoutException):
        return Offline("the server did not answer in time", code="timeout", cause=str(error))
    if isinstance(error, httpx2.NetworkError):
        return Offline("the server cannot be reached", code="unreachable", cause=str(error))
    return incomplete("the connection was lost", cause=str(error))


def _untrusted(error: BaseException | None) -> str:
    """Return why a certificate is not trusted, if that is what is behind an error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return ""


def pieces(response: httpx2.Response) -> Iterator[bytes]:
    """The body as it comes; from here on a failure breaks an answer that had begun."""
    try:
        yield from response.iter_raw()
    except httpx2.TimeoutException as error:
        raise Offline(
            "timed out while reading the response", code="timeout", cause=str(error)
        ) from None
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise incomplete("the connection was lost", cause=str(error)) from None


def unpacked(response: httpx2.Response, *, bytes_max: int) -> Iterator[bytes]:
    """The body without its compression; cut short or too large, it raises ``Offline``."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from pieces(response)
        return
    known = next((name for name in ENCODINGS if name == encoding), None)
    if known is None:
        raise not_ours(f"it is encoded as {encoding[:60]!r}")
    unpacker = Unpacker(known, bytes_max=bytes_max)
    try:
        for piece in pieces(response):
            yield from unpacker.feed(piece)
        unpacker.finish()
    except ProtocolError as error:
        raise incomplete(error.message) from None


def small(response: httpx2.Response, *, bytes_max: int = SMALL_BODY_BYTES_MAX) -> Iterator[bytes]:
    """The body of an answer that has to be small."""
    size = 0
    for piece in unpacked(response, bytes_max=bytes_max):
        size += len(piece)
        if size > bytes_max:
            raise not_ours("it is too large")
        yield piece
