"""Canonical encoding, keys and scopes, row hashes and digests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Any

from golden import Case, Family
from golden.values import tagged, untagged
from holdfast.core import keys, values
from holdfast.core.digest import Digest, row_hash
from holdfast.core.errors import BadValue
from holdfast.core.ids import derived_id, transaction_id, uuid7
from holdfast.core.values import Value
from holdfast.schema.model import Column, Table


def _row(rng: random.Random) -> list[Value]:
    kinds: list[Value] = [
        None, rng.randint(-(2**63), 2**63 - 1), rng.randint(-5, 5), rng.uniform(-1e6, 1e6),
        rng.choice(["", "x", "Grüße", "😀", "a/b%c"]), rng.randbytes(rng.randint(0, 40)),
    ]  # fmt: skip
    return [rng.choice(kinds) for _ in range(rng.randint(0, 6))]


# --- encoding -----------------------------------------------------------------------------------


def _encoding_inputs() -> Iterator[Case]:
    by_hand: tuple[Value, ...] = (None, 1, -1, 1.0, -0.0, "a", "é", b"\x00\xff", "", b"")
    for number, value in enumerate(by_hand):
        yield f"one value, checked by hand {number}", {"values": [tagged(value)]}
    rng = random.Random(1)
    for number in range(60):
        yield f"row {number}", {"values": [tagged(value) for value in _row(rng)]}


ENCODING = Family(
    name="encoding",
    about="The canonical encoding of storage values, hex. The first ten are checked by hand.",
    inputs=_encoding_inputs,
    answer=lambda given: values.encode([untagged(value) for value in given["values"]]).hex(),
)

# --- keys ---------------------------------------------------------------------------------------


def _table(columns: dict[str, str], scopes: list[str], key: list[str]) -> Table:
    return Table(
        name="t",
        key=tuple(key),
        columns=tuple(Column(name, kind) for name, kind in columns.items()),  # type: ignore[arg-type]
        scopes=tuple(scopes),
    )


ONE = ({"id": "text"}, ["catalog"], ["id"])
NUMBER = ({"id": "integer"}, ["n/{id}"], ["id"])
RAW = ({"id": "bytes"}, ["raw/{id}"], ["id"])
PAIR = ({"a": "text", "n": "integer", "b": "text"}, ["x/{b}/{n}", "all"], ["b", "n"])
LISTED = ({"id": "text", "s": "json"}, ["*{s}"], ["id"])


def _key_inputs() -> Iterator[Case]:
    cases: tuple[tuple[Any, tuple[list[Value], ...]], ...] = (
        (ONE, (["a"], ["a/b%c"], ["Grüße"], ["x" * 1024], ["x" * 1025], ["é" * 512], ["é" * 513])),
        (NUMBER, ([0], [-5], [2**63 - 1], [-(2**63)])),
        (RAW, ([b"\x00\xff"], [b""], [b"\x2f" * 512], [b"\x2f" * 513])),
        (PAIR, ([None, 7, "s1"], ["q", -1, "a/b"], ["q", 1, "%2F"], ["q", 1, "%"], ["q", 1, ""])),
        (LISTED, (["a", '["b","a","a"]'], ["a", "[]"], ["a", "{}"], ["a", '[""]'], ["a", "[1]"],
                  ["a", "nope"], ["a", None], ["a", '["\\ue000","\\ud83d\\ude00","z"]'],
                  ["a", '["' + "s" * 201 + '"]'])),
    )  # fmt: skip
    for number, (table, rows) in enumerate(cases):
        for at, row in enumerate(rows):
            yield (
                f"table {number} row {at}",
                {
                    "table": {"columns": table[0], "scopes": table[1], "key": table[2]},
                    "row": [tagged(value) for value in row],
                },
            )


def _key_answer(given: dict[str, Any]) -> Any:
    table = _table(**given["table"])
    row = [untagged(value) for value in given["row"]]
    try:
        key = keys.row_key(table, row)
    except BadValue as error:
        return {"error": error.code}
    back = [tagged(value) for value in keys.key_values(table, key)]
    try:
        return {"key": key, "values": back, "scopes": list(keys.row_scopes(table, row))}
    except BadValue as error:
        return {"key": key, "values": back, "scopes_error": error.code}


KEYS = Family(
    name="keys",
    about="A row's key text, its way back to values, and the row's scopes in order.",
    inputs=_key_inputs,
    answer=_key_answer,
)

# --- digests ------------------------------------------------------------------------------------


def _digest_inputs() -> Iterator[Case]:
    # RFC 7693, appendix B, and the first two of the keyed vectors of BLAKE2's authors.
    yield "RFC 7693 blake2s-256 of abc", {"blake2s": b"abc".hex(), "size": 32}
    key = bytes(range(32)).hex()
    yield "keyed, empty", {"blake2s": "", "size": 32, "key": key}
    yield "keyed, one zero byte", {"blake2s": "00", "size": 32, "key": key}
    rng = random.Random(2)
    for number in range(12):
        yield f"128 bits {number}", {"blake2s": rng.randbytes(11 * number).hex(), "size": 16,
                                     "key": rng.randbytes(16).hex()}  # fmt: skip
    for number in range(30):
        rows = [
            {"table": "stock", "key": f"k{at}", "values": [tagged(v) for v in _row(rng)]}
            for at in range(rng.randint(0, 5))
        ]
        yield f"digest {number}", {"scope_key": rng.randbytes(16).hex(), "rows": rows,
                                   "removed": rng.randint(0, len(rows))}  # fmt: skip
    for number in range(8):
        yield f"uuid7 {number}", {
            "uuid7_us": str(rng.choice([0, -5, 1_645_557_742_000_000, 1_645_557_742_000_999,
                                        rng.randint(0, 2**58), 2**70])),
            "random": rng.randbytes(8).hex(),
        }  # fmt: skip
    yield "transaction id", {"transaction_id": rng.randbytes(16).hex()}
    yield "derived id", {"derived_id": [tagged(one) for one in ("till-é", 7, -(2**63))]}
    yield "derived id of texts", {"derived_id": [tagged("stock"), tagged("A/1")]}


def _digest_answer(given: dict[str, Any]) -> Any:
    if "blake2s" in given:
        body, key = bytes.fromhex(given["blake2s"]), bytes.fromhex(given.get("key", ""))
        return hashlib.blake2s(body, digest_size=given["size"], key=key).hexdigest()
    if "uuid7_us" in given:
        return uuid7(int(given["uuid7_us"]), lambda _: bytes.fromhex(given["random"]))
    if "transaction_id" in given:
        return transaction_id(lambda _: bytes.fromhex(given["transaction_id"]))
    if "derived_id" in given:
        return derived_id(*(one for value in given["derived_id"]
                            if isinstance(one := untagged(value), str | int)))  # fmt: skip
    hashes = [
        row_hash(bytes.fromhex(given["scope_key"]), row["table"], row["key"],
                 [untagged(value) for value in row["values"]])
        for row in given["rows"]
    ]  # fmt: skip
    digest = Digest()
    for hashed in hashes:
        digest = digest.add(hashed)
    less = digest.replace(removed=hashes[: given["removed"]], added=[])
    return {
        "hashes": [hashed.hex() for hashed in hashes],
        "count": digest.count,
        "digest": digest.hex,
        "less": [less.count, less.hex],
    }


DIGESTS = Family(
    name="digests",
    about="BLAKE2s (with published vectors), row hashes, digests of scopes, ids.",
    inputs=_digest_inputs,
    answer=_digest_answer,
)
