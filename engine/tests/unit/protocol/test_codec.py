"""Requests are read strictly, and what was written is what is read.

Checks I31.
"""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import limits
from holdfast.core.errors import ProtocolError
from holdfast.core.limits import JSON_DEPTH_MAX
from holdfast.protocol import codec, strict
from holdfast.protocol.messages import (
    Change,
    Checkpoint,
    ExchangeRequest,
    Gone,
    Head,
    Line,
    Nonces,
    Position,
    RangeAnswer,
    RangeDigest,
    RangeQuery,
    RowQuery,
    Rows,
    Transaction,
    VerifyRequest,
)

HEX = "0123456789abcdef" * 2
POSITION = Position(version=7, count=2, digest=HEX, seal="s")


def exchange(*changes: Change, **fields: object) -> ExchangeRequest:
    transaction = Transaction(number=1, id=HEX, at=5, changes=list(changes))
    return ExchangeRequest(
        **{  # type: ignore[arg-type]
            "protocol": 1,
            "schema": HEX,
            "now": 1_700_000_000_000_000,
            "nonce": Nonces(since="", to="abcdefgh"),
            "transactions": [transaction] if changes else [],
            **fields,
        }
    )


def body(value: bytes) -> bytes:
    """A request whose first change has this raw JSON as the only part of its key."""
    whole = codec.encode_request(exchange(Change(table="t", key=["@"], op="delete")))
    return whole.replace(b'"@"', value)


def refused(raw: bytes, kind: type = ExchangeRequest) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        codec.decode_request(raw, kind)
    return caught.value


def test_requests_come_back_as_they_were() -> None:
    change = Change(
        table="stock", key=["ä", "9007199254740993"], op="update", base=3, bases={"n": 2},
        new={"n": None, "x": 1.5, "t": "\x00\n\"\\\u2028😀"}, old={"n": True},
    )  # fmt: skip
    request = exchange(change, checkpoint={"main": POSITION}, epoch="e-1", device="till 3")
    assert codec.decode_request(codec.encode_request(request), ExchangeRequest) == request
    verify = VerifyRequest(
        protocol=1, schema=HEX, now=-5,
        ranges=[RangeQuery(scope="main", start="a", end=None)], rows=[RowQuery("t", "k")],
    )  # fmt: skip
    assert codec.decode_request(codec.encode_request(verify), VerifyRequest) == verify


@pytest.mark.parametrize(
    "line",
    [
        Head(protocol=1, epoch="e", device="d", user="u", echo="x", time=1, schema=HEX, scopes={}),
        Rows("t", [[1, "a", None], [2, "b", 1.5]]),
        Gone("t", ["k"]),
        RangeAnswer("s", "", None, 1, HEX, [RangeDigest("", "b", 1, HEX)], [("t", "k", 1, HEX)]),
        Checkpoint({"main": POSITION}, 3),
    ],
    ids=lambda line: type(line).__name__,
)
def test_lines_come_back_as_they_were(line: Line) -> None:
    encoded = codec.encode_line(line)
    assert encoded.endswith(b"\n")
    assert encoded.count(b"\n") == 1
    assert codec.decode_line(encoded) == line


@pytest.mark.parametrize(
    "raw",
    [b"", b"\n", b"{}", b'{"type":"other"}', b"[1]", b'{"type":"gone","table":1,"keys":[]}',
     b'{"type":"gone","table":"t","keys":[]} {}', b"[" * 100_000,
     b'{"type":"gone","table":"\xff"}'],
)  # fmt: skip
def test_what_is_no_line_is_said_so(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        codec.decode_line(raw)


HOSTILE_VALUES = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "1e999": b"1e999",
    "-1e999": b"-1e999",
    "integer of 5,000 digits": b"9" * 5000,
    "negative integer of 5,000 digits": b"-" + b"9" * 5000,
    "leading zero": b"01",
    "plus sign": b"+1",
    "bare fraction": b".5",
    "open fraction": b"1.",
    "hexadecimal": b"0x10",
    "lone high surrogate": rb'"\ud800"',
    "lone low surrogate": rb'"\udc00"',
    "swapped surrogates": rb'"\udc00\ud800"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "overlong UTF-8": b'"\xc0\x80"',
    "invalid UTF-8": b'"\xff"',
    "raw NUL": b'"a\x00b"',
    "raw line end": b'"a\nb"',
    "unknown escape": rb'"\x41"',
    "single quotes": b"'a'",
    "comment": b"1/**/",
    "trailing comma": b"1,",
    "duplicate key": b'{"a":1,"a":2}',
    "duplicate key, one escaped": rb'{"a":1,"\u0061":2}',
    "undefined": b"undefined",
    "unclosed": b"[1",
    "wrongly closed": b"[1}",
    "depth bomb of lists": b"[" * 100_000 + b"]" * 100_000,
    "depth bomb of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "depth bomb, never closed": b"[" * 1_000_000,
    "depth bomb behind strings": rb'"\\","\"",' + b"[" * 100_000 + b"]" * 100_000,
    "too deep by one": b"[" * (JSON_DEPTH_MAX - 5) + b"]" * (JSON_DEPTH_MAX - 5),
}


@pytest.mark.parametrize("value", HOSTILE_VALUES.values(), ids=HOSTILE_VALUES)
def test_hostile_values_are_refused(value: bytes) -> None:
    assert refused(body(value)).code in ("bad_json", "bad_message")


@pytest.mark.parametrize(
    "value",
    [b'"9223372036854775808"', b"9007199254740993", b"18446744073709551616", b"9" * 300, b"-0",
     b"1e308", b"5e-324", b"true", b"null", rb'"\u0000"', rb'"\ud83d\ude00"', rb'"[[[[{{{{\\\""',
     b'"' + b"[" * 1000 + b'"', b"[" * (JSON_DEPTH_MAX - 6) + b"]" * (JSON_DEPTH_MAX - 6),
     b'{"a":1,"A":2}', '"é","e\u0301"'.encode()],
)  # fmt: skip
def test_odd_values_are_left_for_their_transaction_to_be_judged(value: bytes) -> None:
    codec.decode_request(body(value), ExchangeRequest)


GOOD = codec.encode_request(exchange())

HOSTILE_BODIES = {
    "empty": b"",
    "blank": b" \n",
    "not an object": b"[]",
    "a string": b'"protocol"',
    "null": b"null",
    "trailing garbage": GOOD + b"x",
    "two documents": GOOD + GOOD,
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without a mark": GOOD.decode().encode("utf-16-le"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "cut short": GOOD[:-1],
    "gzip": gzip.compress(GOOD),
    "no protocol": b"{}",
    "protocol only nested": b'{"a":{"protocol":1}}',
    "protocol is text": GOOD.replace(b'"protocol":1', b'"protocol":"1"'),
    "protocol is a fraction": GOOD.replace(b'"protocol":1', b'"protocol":1.0'),
    "protocol is true": GOOD.replace(b'"protocol":1', b'"protocol":true'),
    "protocol twice": GOOD.replace(b'"protocol":1', b'"protocol":2,"protocol":1'),
    "nonce twice": GOOD[:-1] + b',"nonce":{"since":"","to":"zzzzzzzz"}}',
    "unknown field": GOOD[:-1] + b',"admin":true}',
    "field left out": GOOD.replace(b'"now":1700000000000000,', b""),
    "number as text": GOOD.replace(b"1700000000000000", b'"1700000000000000"'),
    "time above 2^53": GOOD.replace(b"1700000000000000", b"9007199254740992"),
    "nonce too short": GOOD.replace(b"abcdefgh", b"abc"),
    "nonce with other signs": GOOD.replace(b"abcdefgh", b"abcdefg/"),
}


@pytest.mark.parametrize("raw", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES)
def test_hostile_bodies_are_refused(raw: bytes) -> None:
    error = refused(raw)
    assert error.code in ("bad_json", "bad_message")
    assert error.status == 400
    assert len(error.message) < 500


@pytest.mark.parametrize("change", [
    b'"op":"truncate"', b'"op":1', b'"op":"delete","base":-1', b'"op":"delete","base":1.5',
    b'"op":"delete","new":[]', b'"op":"delete","sql":"DROP TABLE t"', b'"op":"delete","base":true',
])  # fmt: skip
def test_wrong_types_inside_a_change_are_refused(change: bytes) -> None:
    raw = codec.encode_request(exchange(Change(table="t", key=["k"], op="delete")))
    assert refused(raw.replace(b'"op":"delete"', change)).code == "bad_message"


def test_a_request_of_the_other_kind_is_refused() -> None:
    assert refused(GOOD, VerifyRequest).code == "bad_message"


@pytest.mark.parametrize("raw", [
    b'{"protocol":2,"something":"else"}', b'{"new":{"shape":[]},"protocol":99}', b'{"protocol":0}',
    b'{"protocol":-1}', GOOD.replace(b'"protocol":1', b'"protocol":' + b"9" * 4000),
])  # fmt: skip
def test_another_version_is_told_before_anything_else(raw: bytes) -> None:
    error = refused(raw)
    assert (error.code, error.status) == ("protocol_version", 400)


def test_more_values_than_memory_is_meant_for() -> None:
    many = b"[" + b"1," * limits.JSON_VALUES_MAX + b"1]"
    error = refused(body(many))
    assert (error.code, error.status) == ("too_large", 413)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), json_values), st.booleans())
def test_shape_checks_pass_what_is_json(value: dict[str, object], ascii_only: bool) -> None:
    strict.read_strict(json.dumps(value, ensure_ascii=ascii_only).encode())


@given(st.lists(st.sampled_from(['"', "\\", "[", "]", "{", "}", ",", ":", "a", "1"]), max_size=40))
def test_depth_is_never_underestimated(signs: list[str]) -> None:
    """Against a plain scanner: for text that it finds well-formed, the levels agree."""
    text = "".join(signs)
    depth = scanned_depth(text)
    if depth is None:
        return
    nested = "[" * (JSON_DEPTH_MAX - depth) + text + "]" * (JSON_DEPTH_MAX - depth)
    if depth <= JSON_DEPTH_MAX:
        strict.check_shape(nested.encode())
    with pytest.raises(ProtocolError):
        strict.check_shape(b"[" + nested.encode() + b"]" + b"[" * 40)


def scanned_depth(text: str) -> int | None:
    """The deepest level of brackets outside strings; None if they, or escapes, make no sense."""
    level = deepest = 0
    inside = escaped = False
    for sign in text:
        if escaped:
            escaped = False
        elif sign == "\\":
            if not inside:
                return None
            escaped = True
        elif sign == '"':
            inside = not inside
        elif not inside and sign in "[{":
            level += 1
            deepest = max(deepest, level)
        elif not inside and sign in "]}":
            level -= 1
            if level < 0:
                return None
    return None if inside or level else deepest


def test_strings_that_span_blocks_are_told_from_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict, "STRICT_BLOCK_BYTES", 3)
    raw = b'["[","]]","{{{{",["a]"],"\\"[[[","x"]'
    strict.check_shape(raw)
    with pytest.raises(ProtocolError):
        strict.check_shape(raw + b"[")


def test_errors_come_back() -> None:
    error = ProtocolError("no", code="some_code", status=409, scope="main")
    answer = codec.decode_error(codec.encode_error(error, echo="e"))
    assert answer is not None
    assert (answer.error.code, answer.error.detail, answer.echo) == (
        "some_code", {"scope": "main"}, "e",
    )  # fmt: skip
    assert codec.decode_error(b"<html>") is None
    assert codec.decode_error(b'{"error":"no"}') is None
