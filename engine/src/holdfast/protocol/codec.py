"""Messages to bytes and back: requests read strictly, answers line by line.

Knows: messages and their JSON. Must not know: HTTP, SQL, or what a message does.
What is decoded here has the declared types and nothing else in it; column values are still in their
wire form and are judged one by one later, so that a bad one costs only its transaction.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import RESPONSE_LINE_BYTES_MAX
from holdfast.protocol.enrolment import (
    EnrolRequest,
    InviteRequest,
    PasswordRequest,
    RefreshRequest,
    RevokeRequest,
    SignOutRequest,
)
from holdfast.protocol.messages import ErrorAnswer, ErrorBody, ExchangeRequest, Line, VerifyRequest
from holdfast.protocol.strict import bad_json, read_strict
from holdfast.protocol.version import PROTOCOL

Request = ExchangeRequest | VerifyRequest
RequestT = TypeVar("RequestT", ExchangeRequest, VerifyRequest)

SmallT = TypeVar(
    "SmallT",
    EnrolRequest,
    RefreshRequest,
    InviteRequest,
    PasswordRequest,
    RevokeRequest,
    SignOutRequest,
)

_DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        ExchangeRequest,
        VerifyRequest,
        EnrolRequest,
        RefreshRequest,
        InviteRequest,
        PasswordRequest,
        RevokeRequest,
        SignOutRequest,
    )
}
_LINE: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)
_ERROR: Final = msgspec.json.Decoder(ErrorAnswer)
_ENCODER: Final = msgspec.json.Encoder()


def decode_request(body: bytes, kind: type[RequestT]) -> RequestT:
    """Read a request, strictly.

    Raises ``ProtocolError`` 400: ``bad_json`` when the body is not strict JSON,
    ``protocol_version`` when it is of another version (told before anything else is looked at),
    ``bad_message`` when a field is missing, unknown or of a wrong type; 413
    ``too_large`` when it has too many values.
    """
    request: RequestT = _decoded(body, kind)
    return request


def decode_small(body: bytes, kind: type[SmallT]) -> SmallT:
    """Read a request about people and devices, as strictly as ``decode_request``."""
    request: SmallT = _decoded(body, kind)
    return request


def _decoded(body: bytes, kind: type[Any]) -> Any:
    _check_version(read_strict(body))
    try:
        return _DECODERS[kind].decode(body)
    except msgspec.ValidationError as error:
        raise ProtocolError(str(error)[:300]) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise bad_json(str(error)[:200]) from None


def _check_version(top: dict[str, Any] | None) -> None:
    version = None if top is None else top["protocol"]
    if type(version) is not int:  # True is no version
        raise ProtocolError("a message is an object with its protocol's number")
    if version != PROTOCOL:
        raise ProtocolError(
            f"this server speaks protocol {PROTOCOL}, the request {str(version)[:20]}",
            code="protocol_version",
            protocol=PROTOCOL,
        )


def encode_request(request: Request) -> bytes:
    """The JSON body of a request. Values must be in their wire form (NaN has none)."""
    return _ENCODER.encode(request)


def encode_line(line: Line) -> bytes:
    """One line of an answer, with its line end."""
    return _ENCODER.encode(line) + b"\n"


def decode_line(line: bytes) -> Line:
    """Read one line of an answer. Raises ``ProtocolError`` when it is none."""
    if len(line) > RESPONSE_LINE_BYTES_MAX:
        raise ProtocolError(f"a line has more than {RESPONSE_LINE_BYTES_MAX} bytes")
    try:
        return _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"not a line of an answer: {str(error)[:200]}") from None


def encode_error(error: ProtocolError, *, echo: str = "") -> bytes:
    """The JSON body of an answer that is not 2xx."""
    body = ErrorBody(code=error.code, message=error.message, detail=error.detail)
    return _ENCODER.encode(ErrorAnswer(error=body, echo=echo))


def decode_error(body: bytes) -> ErrorAnswer | None:
    """Read the body of an answer that is not 2xx; ``None`` when it is not one of ours."""
    try:
        return _ERROR.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
