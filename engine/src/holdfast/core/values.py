"""Column types: storage form, wire form and canonical encoding of every value.

Knows: the types a column may have. Must not know: tables, SQL or messages.
One storage form (what SQLite holds), one wire form (survives JavaScript's ``JSON.parse``), one
canonical binary encoding (what hashes are made of); each conversion is exact or raises
``BadValue``.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from holdfast.core.errors import BadValue
from holdfast.core.limits import (
    DECIMAL_DIGITS_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    JSON_NESTING_MAX,
    TEXT_BYTES_MAX,
    TIMESTAMP_US_MAX,
    TIMESTAMP_US_MIN,
)

Value = None | int | float | str | bytes
"""A value in its storage form."""
Row = tuple[Value, ...]
"""A row's values, or some of them, in the order of their columns."""

TYPES = (
    "text", "integer", "real", "boolean", "bytes", "uuid", "timestamp", "date", "decimal", "json",
)  # fmt: skip
KEY_TYPES = ("text", "integer", "bytes", "uuid", "timestamp", "date")
STORAGE = {
    "text": "TEXT", "integer": "INTEGER", "real": "REAL", "boolean": "INTEGER", "bytes": "BLOB",
    "uuid": "TEXT", "timestamp": "INTEGER", "date": "TEXT", "decimal": "TEXT", "json": "TEXT",
}  # fmt: skip
"""SQLite storage class of each type."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})\Z", re.ASCII)
_DECIMAL = re.compile(r"-?\d+(\.\d+)?\Z", re.ASCII)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,18})\Z", re.ASCII)
_DECIMALS = Context(prec=DECIMAL_DIGITS_MAX, traps=[InvalidOperation])
"""Of our own: what a decimal is must not depend on what an app sets for its thread."""
_DAYS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _text(value: Any, _scale: int) -> str:
    if not isinstance(value, str):
        raise BadValue(f"text expected, got {type(value).__name__}")
    if "\x00" in value:
        raise BadValue("text must not contain NUL")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise BadValue("text has a lone surrogate") from None
    if size > TEXT_BYTES_MAX:
        raise BadValue(f"text has {size} bytes, the limit is {TEXT_BYTES_MAX}")
    return value


def _integer(value: Any, _scale: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValue(f"integer expected, got {type(value).__name__}")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise BadValue("integer does not fit 64 bits", code="bad_value")
    return value


def _real(value: Any, _scale: int) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadValue(f"real expected, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise BadValue("real must be finite") from None
    if not math.isfinite(number):
        raise BadValue("real must be finite")
    return number + 0.0  # -0.0 becomes 0.0


def _boolean(value: Any, _scale: int) -> int:
    if value is True or value is False:
        return int(value)
    if isinstance(value, int) and value in (0, 1):
        return value
    raise BadValue("boolean expected")


def _bytes(value: Any, _scale: int) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise BadValue(f"bytes expected, got {type(value).__name__}")
    if len(value) > TEXT_BYTES_MAX:
        raise BadValue(f"value has {len(value)} bytes, the limit is {TEXT_BYTES_MAX}")
    return bytes(value)


def _uuid(value: Any, _scale: int) -> str:
    if not isinstance(value, str) or not _UUID.match(value):
        raise BadValue("uuid expected in canonical form (lower case, with hyphens)")
    return value


def is_uuid(text: str) -> bool:
    """Return whether a text is a uuid in its canonical form."""
    return _UUID.match(text) is not None


def _timestamp(value: Any, _scale: int) -> int:
    number = _integer(value, 0)
    if not TIMESTAMP_US_MIN <= number <= TIMESTAMP_US_MAX:
        raise BadValue("timestamp is outside the years 1 to 9999")
    return number


def _date(value: Any, _scale: int) -> str:
    match = _DATE.match(value) if isinstance(value, str) else None
    if match is None:
        raise BadValue("date expected as YYYY-MM-DD")
    year, month, day = (int(part) for part in match.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if year < 1 or not 1 <= month <= 12 or not 1 <= day <= _DAYS[month]:
        raise BadValue("no such date")
    if month == 2 and day == 29 and not leap:
        raise BadValue("no such date")
    return match.group(0)


def _plain(number: int | Decimal) -> str:
    """All digits of a number without an exponent; '' when there are far too many."""
    if isinstance(number, int):
        return str(number) if abs(number) < 10**DECIMAL_DIGITS_MAX else ""
    sane = number.is_finite() and abs(number.adjusted()) <= DECIMAL_DIGITS_MAX
    return format(number, "f") if sane else ""


def _decimal(value: Any, scale: int) -> str:
    """Normalised to ``scale`` digits after the point; more digits than that are refused."""
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise BadValue(f"decimal expected, got {type(value).__name__}")
    text = value if isinstance(value, str) else _plain(value)
    if len(text) > DECIMAL_DIGITS_MAX + 3 or not _DECIMAL.match(text):
        raise BadValue("decimal expected, such as 12.50")
    try:
        number = Decimal(text)
        normal = number.quantize(Decimal(1).scaleb(-scale), context=_DECIMALS)
    except InvalidOperation:
        raise BadValue("decimal has too many digits") from None
    if normal != number:
        raise BadValue(f"decimal has more than {scale} digits after the point")
    if normal == 0:
        normal = abs(normal)
    return format(normal, "f")


def _json(value: Any, _scale: int) -> str:
    text = _text(value, 0)
    if text.count("[") + text.count("{") > JSON_NESTING_MAX and depth(text) > JSON_NESTING_MAX:
        raise BadValue(f"JSON is nested more than {JSON_NESTING_MAX} levels deep")
    try:  # numbers are only looked at: they may have more digits than Python reads
        json.loads(text, parse_constant=_no_constant, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise BadValue("valid JSON expected") from None
    return text


def depth(text: str) -> int:
    """Return how deep arrays and objects stand within each other, in what may be JSON."""
    depth = deepest = 0
    for sign in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if sign in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _no_constant(name: str) -> None:
    raise ValueError(name)


_CHECK: dict[str, Callable[[Any, int], Value]] = {
    "text": _text, "integer": _integer, "real": _real, "boolean": _boolean, "bytes": _bytes,
    "uuid": _uuid, "timestamp": _timestamp, "date": _date, "decimal": _decimal, "json": _json,
}  # fmt: skip


def check(type_name: str, value: Any, *, scale: int = 0) -> Value:
    """The storage form of ``value`` for a column of this type; ``None`` stays ``None``.

    Raises ``BadValue`` when the value does not fit; no value is ever changed silently.
    """
    return None if value is None else _CHECK[type_name](value, scale)


def _base64(value: Value) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode("ascii")


_TO_WIRE: dict[str, Callable[[Value], Any]] = {
    "integer": str, "timestamp": str, "boolean": bool, "bytes": _base64,
}  # fmt: skip
"""Types whose wire form is not their storage form."""


def to_wire(type_name: str, value: Value) -> Any:
    """The JSON form of a storage value: 64-bit integers and decimals travel as strings."""
    convert = _TO_WIRE.get(type_name)
    return value if value is None or convert is None else convert(value)


def plain(type_name: str, wire: Any) -> Any:
    """A wire value as people read it in JSON: integers as numbers."""
    if type_name in ("integer", "timestamp") and isinstance(wire, str):
        with suppress(ValueError):  # a conflict that holds something else can still be looked at
            return int(wire)
    return wire


def _integer_of(wire: Any, _scale: int) -> int:
    if not isinstance(wire, str) or not _INTEGER.match(wire) or wire == "-0":
        raise BadValue("integer expected, written as a string of digits")
    return _integer(int(wire), 0)


def _timestamp_of(wire: Any, _scale: int) -> int:
    return _timestamp(_integer_of(wire, 0), 0)


def _boolean_of(wire: Any, _scale: int) -> int:
    if not isinstance(wire, bool):
        raise BadValue("boolean expected")
    return int(wire)


def _bytes_of(wire: Any, _scale: int) -> bytes:
    if not isinstance(wire, str):
        raise BadValue("bytes expected in base64")
    try:
        raw = base64.b64decode(wire, validate=True)
    except (binascii.Error, ValueError):
        raise BadValue("bytes expected in base64") from None
    if base64.b64encode(raw).decode("ascii") != wire:
        raise BadValue("bytes are not in canonical base64")
    return _bytes(raw, 0)


def _decimal_of(wire: Any, scale: int) -> str:
    if not isinstance(wire, str):
        raise BadValue("decimal expected, written as a string")
    if _decimal(wire, scale) != wire:
        raise BadValue("decimal is not normalised")
    return wire


_OF_WIRE: dict[str, Callable[[Any, int], Value]] = {
    **_CHECK, "integer": _integer_of, "timestamp": _timestamp_of, "boolean": _boolean_of,
    "bytes": _bytes_of, "decimal": _decimal_of,
}  # fmt: skip


def from_wire(type_name: str, wire: Any, *, scale: int = 0) -> Value:
    """The storage form of a JSON value. Raises ``BadValue``."""
    return None if wire is None else _OF_WIRE[type_name](wire, scale)


def wire_reader(type_name: str) -> Callable[[Any, int], Value]:
    """Return what ``from_wire`` does for a type, of a value that is not None and a scale; for
    those who read many."""
    return _OF_WIRE[type_name]


_INT = struct.Struct(">Bq").pack
_REAL = struct.Struct(">Bd").pack
_SIZE = struct.Struct(">BI").pack
_SHORT_TEXT = [_SIZE(3, size) for size in range(256)]


def encode(values: Iterable[Value]) -> bytes:
    """The canonical binary encoding of storage values.

    Each value is a tag byte and its content: 0 NULL; 1 integer, 8 bytes big-endian; 2 real, IEEE
    754
    big-endian; 3 text and 4 bytes, each with a 4-byte big-endian length.
    """
    parts: list[bytes] = []
    for value in values:
        if isinstance(value, str):
            raw = value.encode()
            size = len(raw)
            parts += (_SHORT_TEXT[size] if size < 256 else _SIZE(3, size), raw)
        elif value is None:
            parts.append(b"\x00")
        elif isinstance(value, int):
            parts.append(_INT(1, value))
        elif isinstance(value, float):
            parts.append(_REAL(2, value + 0.0))
        else:
            parts.append(_SIZE(4, len(value)))
            parts.append(value)
    return b"".join(parts)


def row_bytes(row: Iterable[Value]) -> int:
    """Return how large a row counts, in bytes: texts in UTF-8, bytes as they are, 8 for anything
    else.

    Both sides measure a row by it: what a replica commits is not too large for its server.
    """
    return sum(
        len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes)
        else 8
        for value in row
    )  # fmt: skip


def order_key(type_name: str, value: Value) -> Any:
    """A key that orders values of a column the way people expect (decimals by number)."""
    return Decimal(value) if type_name == "decimal" and isinstance(value, str) else value
