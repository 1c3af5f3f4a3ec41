"""Values: all types, from storage and from the wire, hostile ones among them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from golden import Case, Family
from holdfast.core import limits, values
from holdfast.core.errors import BadValue
from holdfast.core.values import Value


def tagged(value: Value) -> Any:
    """A storage value in JSON, with its storage class."""
    if value is None:
        return None
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, int):
        return {"integer": str(value)}
    return {"real": value if math.isfinite(value) else repr(value)}


def untagged(tag: Any) -> Value:
    """The inverse of ``tagged``."""
    if tag is None:
        return None
    ((kind, content),) = tag.items()
    if kind == "integer":
        return int(content)
    if kind == "bytes":
        return bytes.fromhex(content)
    return float(content) if kind == "real" else str(content)


BIG = 2**63
INTEGERS = (0, 1, -1, 42, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, BIG - 1, -BIG, BIG, -BIG - 1)
REALS = (
    0.0,
    -0.0,
    1.0,
    0.1,
    -1.5,
    1e-310,
    5e-324,
    1.7976931348623157e308,
    2.0**53,
    math.inf,
    -math.inf,
    math.nan,
)
TEXTS = (
    "",
    "a",
    "85123A",
    "Grüße",
    "名前",
    "😀",
    "a\u0301",
    "\ufeffx",
    "a\x00b",
    "\ud800",
    "x\udfff",
    "\U0010ffff",
    "\x7f\x80",
    "quote' \" \\ ;--",
    "line\r\nend\t",
)
UUIDS = (
    "0190a6e2-7b3c-7def-8123-456789abcdef",
    "0190A6E2-7b3c-7def-8123-456789abcdef",
    "0190a6e27b3c7def8123456789abcdef",
    "",
    "0190a6e2-7b3c-7def-8123-456789abcdef\n",
)
DATES = (
    "2024-02-29",
    "2023-02-29",
    "1900-02-29",
    "2000-02-29",
    "0001-01-01",
    "0000-01-01",
    "9999-12-31",
    "2024-13-01",
    "2024-00-10",
    "2024-04-31",
    "2024-4-3",
    "2024-04-30\n",
    "\u0662024-01-01",
    "20240101",
    "",
)
DECIMALS = (
    "0",
    "-0",
    "0.00",
    "-0.00",
    "12.5",
    "12.50",
    "12.500",
    "12.505",
    "012.5",
    "-3",
    "+3",
    "1e3",
    ".5",
    "5.",
    "-",
    "",
    "999999999999999999999999999999",
    "9999999999999999999999999999.99",
    "99999999999999999999999999999.99",
    "1000000000000000000000000000000",
    "NaN",
    "12,5",
    " 1",
)
JSONS = (
    "{}",
    "[1, 2.0, null]",
    '"x"',
    "",
    "{",
    "NaN",
    "Infinity",
    '{"a":1,"a":2}',
    "\ufeff{}",
    "1e999",
    '"\\ud800"',
    "01",
    "[1,]",
    "'x'",
    "true ",
    '"\t"',
)
WIRES = (
    "null",
    "true",
    "false",
    "0",
    "1",
    "1.0",
    "-0.0",
    "1.5",
    "1e999",
    "9007199254740993",
    '""',
    '"0"',
    '"-0"',
    '"+1"',
    '"01"',
    '"1.0"',
    '" 1"',
    '"1\\n"',
    '"\\u0661"',
    '"9223372036854775807"',
    '"9223372036854775808"',
    '"-9223372036854775808"',
    '"-9223372036854775809"',
    '"99999999999999999999999"',
    '"253402300799999999"',
    '"253402300800000000"',
    '"-62135596800000000"',
    '"-62135596800000001"',
    '"AA=="',
    '"AB=="',
    '"AAA="',
    '"AAB="',
    '"AAAA"',
    '"AA"',
    '"A==="',
    '"AA==\\n"',
    '"-_-_"',
    '"Zm9vYmFy"',
    '"text"',
    '"\\ud83d\\ude00"',
    '"\\ud800"',
    '"a\\u0000b"',
    '"2024-02-29"',
    '"2023-02-29"',
    '"12.50"',
    '"12.5"',
    '"-0.00"',
    '"0.00"',
    '"00.10"',
    '"0190a6e2-7b3c-7def-8123-456789abcdef"',
    "[]",
    "{}",
    '["1"]',
)


def _storages() -> Iterator[tuple[str, Value]]:
    for kind in ("integer", "timestamp", "boolean", "real", "decimal"):
        yield from ((kind, number) for number in INTEGERS)
    yield from (("real", number) for number in REALS)
    for kind in ("timestamp",):
        for number in (limits.TIMESTAMP_US_MAX, limits.TIMESTAMP_US_MIN):
            yield from ((kind, number + step) for step in (-1, 0, 1))
    for kind, texts in (("text", TEXTS), ("uuid", UUIDS), ("date", DATES), ("decimal", DECIMALS),
                        ("json", JSONS)):  # fmt: skip
        yield from ((kind, text) for text in texts)
    yield from (("bytes", raw) for raw in (b"", b"\x00", bytes(range(256)), b"foobar"))
    samples: tuple[Value, ...] = (None, 1, 1.5, "1", b"1")
    for kind in values.TYPES:
        for sample in samples:
            if kind not in ("boolean", "decimal") or not isinstance(sample, float):
                yield kind, sample  # who takes a float there for what it is depends on the language


def _inputs() -> Iterator[Case]:
    for number, (kind, value) in enumerate(_storages()):
        given: dict[str, Any] = {"type": kind, "storage": tagged(value)}
        if kind == "decimal":
            for scale in (0, 2):
                yield f"storage {number} {kind} scale {scale}", given | {"scale": scale}
        else:
            yield f"storage {number} {kind}", given
    for kind in values.TYPES:
        for number, wire in enumerate(WIRES):
            more = {"scale": 2} if kind == "decimal" else {}
            yield f"wire {kind} {number}", {"type": kind, "wire": wire, **more}


def _answer(given: dict[str, Any]) -> Any:
    kind, scale = given["type"], given.get("scale", 0)
    try:
        if "storage" in given:
            stored = values.check(kind, untagged(given["storage"]), scale=scale)
        else:
            stored = values.from_wire(kind, json.loads(given["wire"]), scale=scale)
    except BadValue as error:
        return {"error": error.code}
    wire = values.to_wire(kind, stored)
    assert values.from_wire(kind, wire, scale=scale) == stored
    return {"storage": tagged(stored), "wire": wire}


VALUES = Family(
    name="values",
    about="Values of all types. `storage` (by storage class) or `wire` (JSON text) as given; the "
    "storage and the wire form they have, or the code with which they are refused.",
    inputs=_inputs,
    answer=_answer,
)
