"""JSON as strict as it can be read: the checks that a decoder leaves out, made before it runs.

Knows: JSON's grammar, and limits. Must not know: messages, or HTTP.
Upholds I31: depth, values and text are bounded before anything is built from them; what two readers
could understand differently (duplicate keys, NaN, a byte order mark, UTF-16) is refused.
"""

from __future__ import annotations

import json
from typing import Any

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import (
    JSON_DEPTH_MAX,
    JSON_VALUES_MAX,
    STRICT_BLOCK_BYTES,
)

_MARKS = b'"[]{},'
_OTHERS = bytes(byte for byte in range(256) if byte not in _MARKS)
_ONE_BRACKET = bytes.maketrans(b"{}", b"[]")


def bad_json(why: str) -> ProtocolError:
    """The error of a body that is not strict JSON."""
    return ProtocolError(f"the body is not valid JSON: {why}", code="bad_json")


def read_strict(body: bytes) -> dict[str, Any] | None:
    """Check a body whole. Its top-level object if it has a field ``protocol``, else ``None``.

    Nested objects that have no such field are checked and dropped: only their reading matters here.
    Raises ``ProtocolError`` (``bad_json``, or ``too_large`` for too many values).
    """
    check_shape(body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise bad_json("it is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise bad_json("it starts with a byte order mark")
    try:
        top = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except ProtocolError:
        raise
    except RecursionError:
        raise bad_json("it is nested too deeply") from None
    except ValueError as error:  # malformed, or an integer of thousands of digits
        raise bad_json(str(error)[:200]) from None
    return top if isinstance(top, dict) else None


def check_shape(body: bytes) -> None:
    """Bound depth and number of values by a few passes at the speed of memory, building nothing.

    On malformed JSON it may refuse or accept; it never passes a body that a parser could follow
    deeper than the limit before it meets the fault.
    """
    marks = _outside_strings(body)
    if marks.count(b",") + marks.count(b"[") > JSON_VALUES_MAX:
        raise ProtocolError(
            f"the body has more than {JSON_VALUES_MAX} values", code="too_large", status=413
        )
    marks = marks.replace(b",", b"")
    for _ in range(JSON_DEPTH_MAX):
        if not marks:
            return
        marks = marks.replace(b"[]", b"")  # one level, the innermost
    if marks:
        raise bad_json(f"its brackets do not match, or are deeper than {JSON_DEPTH_MAX}")


def _outside_strings(body: bytes) -> bytes:
    """Only the commas and brackets that stand outside of strings, all brackets as square ones."""
    if b"\\" in body:  # escaped quotes and backslashes would be taken for ends of strings
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(_ONE_BRACKET, _OTHERS).replace(b'""', b"")
    if b'"' not in marks:
        return marks
    outside: list[bytes] = []
    inside = 0
    for start in range(0, len(marks), STRICT_BLOCK_BYTES):  # in blocks, as each piece is an object
        pieces = marks[start : start + STRICT_BLOCK_BYTES].split(b'"')
        outside.append(b"".join(pieces[inside::2]))
        inside = (inside + len(pieces) - 1) % 2
    return b"".join(outside)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise bad_json("an object names a key twice")
    return found if "protocol" in found else None


def _constant(name: str) -> None:
    raise bad_json(f"{name} is not a number")
