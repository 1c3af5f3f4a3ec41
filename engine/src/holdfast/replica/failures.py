"""Translation of answers that are no success into the replica's errors.

Knows: statuses, codes and the tree of errors. Must not know: sockets, or the database.
A 4xx is believed only when it is ours: JSON with a code and the right echo. All else is somebody on
the way (a captive portal, a proxy), and is retried. No failure ends in dropping work (I32).
"""

from __future__ import annotations

from typing import Final

from holdfast.core.backoff import parse_retry_after
from holdfast.core.errors import (
    AttentionNeeded,
    Offline,
    ServerTrouble,
    SignInNeeded,
    SyncError,
    UpgradeNeeded,
)
from holdfast.core.limits import RETRY_AFTER_MS_MAX
from holdfast.protocol.codec import decode_error
from holdfast.protocol.messages import ErrorAnswer

UPGRADE_CODES: Final = frozenset({"protocol_version", "schema_mismatch", "upgrade_needed"})
ATTENTION_CODES: Final = frozenset(
    {
        "nonce_mismatch",
        "epoch_mismatch",
        "wrong_device",
        "number_reused",
        "number_gap",
        "seal_invalid",
    }
)
_NETWORK_SIGN_IN = 511


def not_ours(why: str) -> Offline:
    """Return what answered is not our server, whatever it says."""
    return Offline(f"the response is not from the Holdfast server: {why}", code="not_our_server")


def incomplete(why: str, *, cause: str = "") -> Offline:
    """An answer that began as ours but is not whole. ``cause``: in the machine's words."""
    return Offline(f"the response is incomplete: {why}", code="broken_answer", cause=cause)


def failure(
    status: int,
    *,
    body: bytes,
    content_type: str,
    echoed: bool,
    echo: str,
    retry_after: str = "",
    now_us: int,
) -> SyncError:
    """The error that an answer stands for which is not 200.

    ``echoed``: whether the header had the request's echo, which the body must have too.
    """
    ours: ErrorAnswer | None = None
    if echoed and media_type(content_type) == "application/json":
        ours = decode_error(body)
        if ours is not None and ours.echo != echo:
            ours = None
    wait_ms = retry_after_ms(retry_after, now_us=now_us)
    if status == 429 or (500 <= status <= 599 and status != _NETWORK_SIGN_IN):
        if ours is None:
            return ServerTrouble(f"status {status}", retry_after_ms=wait_ms, status=status)
        error = ours.error
        return ServerTrouble(error.message, code=error.code, retry_after_ms=wait_ms, status=status)
    if ours is None or not 400 <= status <= 499:
        return not_ours(f"status {status}")
    return _refusal(status, ours, wait_ms)


def _refusal(status: int, ours: ErrorAnswer, wait_ms: int | None) -> SyncError:
    """A 4xx of our server."""
    kind: type[SyncError] = SyncError
    if status == 401:
        kind = SignInNeeded
    elif ours.error.code in UPGRADE_CODES:
        kind = UpgradeNeeded
    elif ours.error.code in ATTENTION_CODES:
        kind = AttentionNeeded
    code, message = ours.error.code, ours.error.message
    return kind(message, code=code, retry_after_ms=wait_ms, status=status, server=ours.error.detail)


def media_type(content_type: str) -> str:
    """The content type without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def retry_after_ms(value: str, *, now_us: int) -> int | None:
    """A Retry-After header within the limit of what is waited; None when it says nothing."""
    asked_ms = parse_retry_after(value[:64], now_ms=now_us // 1000)
    return None if asked_ms is None else min(asked_ms, RETRY_AFTER_MS_MAX)
