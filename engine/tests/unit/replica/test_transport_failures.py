"""What else comes than a whole answer is told apart by what to do.

Checks I6.
"""

from __future__ import annotations

import gzip
from email.utils import formatdate

import pytest
from transport_lab import (
    MIDDLE,
    NOW_US,
    PORTAL,
    WHOLE,
    Stub,
    ask,
    encoded,
    error,
    failure,
    head,
    http,
)

from holdfast.core.errors import (
    AttentionNeeded,
    Offline,
    ProtocolError,
    ServerTrouble,
    SignInNeeded,
    SyncError,
    UpgradeNeeded,
)
from holdfast.core.limits import RETRY_AFTER_MS_MAX
from holdfast.protocol.codec import encode_error
from holdfast.protocol.messages import (
    Checkpoint,
)
from holdfast.replica.failures import retry_after_ms
from holdfast.replica.http.transport import HttpTransport

NOT_OURS = {
    "portal": http(PORTAL, kind="text/html", echo=None),
    "portal that repeats our headers": http(PORTAL, kind="text/html"),
    "portal with our type": http(WHOLE, echo=None),
    "another request's answer": http(WHOLE, echo="e2"),
    "another request's lines": http(encoded(head("e2"), *MIDDLE, Checkpoint({}, 3))),
    "another protocol": http(encoded(head(protocol=2), Checkpoint({}, 1))),
    "does not begin with a head": http(encoded(MIDDLE[0], Checkpoint({}, 1))),
    "no content type": http(WHOLE, kind=""),
    "JSON": http(b"{}", kind="application/json"),
    "encoded in some other way": http(WHOLE, content_encoding="br"),
    "encoded twice": http(gzip.compress(WHOLE), content_encoding="gzip, gzip"),
    "no content": http(b"", status="204 No Content"),
    "partial content": http(WHOLE, status="206 Partial Content"),
    "redirect": http(b"", status="302 Found", location="http://portal.example/"),
    "redirect that keeps the method": http(b"", status="307 Moved", location="/v1/elsewhere"),
    "511": http(PORTAL, status="511 Network Authentication Required", kind="text/html"),
    "404 page": http(PORTAL, status="404 Not Found", kind="text/html"),
    "403 JSON without our echo": http(
        b'{"error":{"code":"sign_in","message":""}}', status="403 No", kind="application/json",
        echo=None,
    ),
    "401 of a proxy": http(PORTAL, status="401 Unauthorized", kind="text/html"),
    "401 with another echo": error("401 Unauthorized", "sign_in", echo="e2"),
    "409 with another echo inside": http(
        encode_error(ProtocolError("", code="epoch_mismatch"), echo="e2"), status="409 Conflict",
        kind="application/json",
    ),
    "400 that is no error": http(b'{"ok":true}', status="400 Bad", kind="application/json"),
    "error page that never ends": http(b"x" * 100_000, status="400 Bad", kind="application/json"),
}  # fmt: skip


@pytest.mark.parametrize("answer", NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_not_our_server_is_not_believed(
    stub: Stub, transport: HttpTransport, answer: bytes
) -> None:
    found = failure(stub, transport, answer)
    assert isinstance(found, Offline)
    assert found.code == "not_our_server"
    assert len(stub.requests) == 1  # nothing was followed


def test_the_token_and_cookies_stay_at_home(stub: Stub, transport: HttpTransport) -> None:
    portal = http(PORTAL, kind="text/html", set_cookie="session=stolen; path=/")
    failure(stub, transport, portal)
    ask(stub, transport, http(WHOLE)).close()
    assert b"stolen" not in stub.requests[1]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("401 Unauthorized", "sign_in", SignInNeeded),
        ("401 Unauthorized", "token_expired", SignInNeeded),
        ("400 Bad Request", "protocol_version", UpgradeNeeded),
        ("409 Conflict", "schema_mismatch", UpgradeNeeded),
        ("409 Conflict", "nonce_mismatch", AttentionNeeded),
        ("409 Conflict", "epoch_mismatch", AttentionNeeded),
        ("409 Conflict", "wrong_device", AttentionNeeded),
        ("409 Conflict", "number_reused", AttentionNeeded),
        ("409 Conflict", "number_gap", AttentionNeeded),
        ("409 Conflict", "seal_invalid", AttentionNeeded),
        ("413 Too Large", "too_large", SyncError),
        ("400 Bad Request", "bad_message", SyncError),
        ("418 Teapot", "some_code_of_the_future", SyncError),
    ],
)
def test_what_our_server_refuses(
    stub: Stub, transport: HttpTransport, status: str, code: str, kind: type[SyncError]
) -> None:
    found = failure(stub, transport, error(status, code))
    assert type(found) is kind
    assert found.code == code
    assert found.message == "because"
    assert found.detail["server"] == {"key": "value"}


@pytest.mark.parametrize(
    ("answer", "code", "wait_ms"),
    [
        (error("503 Busy", "busy", retry_after="7"), "busy", 7000),
        (error("500 Internal", "internal"), "internal", None),
        (error("429 Slow down", "too_many_streams", retry_after="0"), "too_many_streams", 0),
        (http(PORTAL, status="502 Bad Gateway", kind="text/html", echo=None), "server_trouble",
         None),
        (http(b"", status="504 Time-out", kind="", retry_after="99999999999"), "server_trouble",
         RETRY_AFTER_MS_MAX),
        (http(b"", status="429 Slow down", kind="", retry_after="soon"), "server_trouble", None),
        (http(b"abc", status="503 Cut", length=1000, connection="close"), "server_trouble", None),
    ],
)  # fmt: skip
def test_trouble_is_retried(
    stub: Stub, transport: HttpTransport, answer: bytes, code: str, wait_ms: int | None
) -> None:
    found = failure(stub, transport, answer)
    assert isinstance(found, ServerTrouble)
    assert (found.code, found.retry_after_ms) == (code, wait_ms)


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        ("", None), ("x", None), ("-1", None), ("1.5", None), ("٣", None), ("5", 5000),
        ("9" * 60, RETRY_AFTER_MS_MAX), (formatdate(NOW_US / 1e6 + 60, usegmt=True), 60_000),
        (formatdate(NOW_US / 1e6 - 60, usegmt=True), 0),
        (formatdate(NOW_US / 1e6 + 1e9, usegmt=True), RETRY_AFTER_MS_MAX),
        ("Fri, 99 Foo 9999 99:99:99 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(value: str, wait_ms: int | None) -> None:
    assert retry_after_ms(value, now_us=NOW_US) == wait_ms


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "a\r\nx: y", "ä"])
def test_a_token_that_cannot_be_one_is_never_sent(stub: Stub, token: str) -> None:
    transport = HttpTransport(stub.url, lambda: token)
    assert isinstance(failure(stub, transport), SignInNeeded)
    assert stub.requests == []
    transport.close()
