"""Digests do not depend on the order of rows, and tell every single difference."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast.core.digest import Digest, row_hash, seal, seal_is_valid

BOUNDED = settings(max_examples=examples(100))
KEY = bytes(range(32))
ROWS = st.lists(st.tuples(st.text("ab", min_size=1), st.integers(0, 9)), max_size=12, unique=True)


def total(rows: list[tuple[str, int]], key: bytes = KEY) -> Digest:
    digest = Digest()
    for name, value in rows:
        digest = digest.add(row_hash(key, "t", name, (name, value)))
    return digest


@BOUNDED
@given(ROWS, st.randoms(use_true_random=False))
def test_order_does_not_count(rows: Any, random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert total(shuffled) == total(rows)
    digest = total(rows)
    for name, value in shuffled:
        digest = digest.remove(row_hash(KEY, "t", name, (name, value)))
    assert digest == Digest()


@BOUNDED
@given(ROWS, ROWS)
def test_other_rows_have_another_digest(left: Any, right: Any) -> None:
    assert (total(left) == total(right)) == (set(left) == set(right))


@BOUNDED
@given(ROWS, st.integers(0, 11), st.integers(10, 20))
def test_a_change_moves_the_digest_by_its_row_alone(rows: Any, place: Any, value: Any) -> None:
    if not rows:
        return
    name, old = rows[place % len(rows)]
    changed = [row for row in rows if row != (name, old)] + [(name, value)]
    moved = total(rows).remove(row_hash(KEY, "t", name, (name, old)))
    assert moved.add(row_hash(KEY, "t", name, (name, value))) == total(changed)


def test_a_hash_tells_table_key_type_and_place_apart() -> None:
    hashes = {
        row_hash(KEY, "t", "a", ("a", None)),
        row_hash(KEY, "u", "a", ("a", None)),
        row_hash(KEY, "t", "b", ("a", None)),
        row_hash(KEY, "t", "a", ("a", 0)),
        row_hash(KEY, "t", "a", ("a", 0.0)),
        row_hash(KEY, "t", "a", ("a", "0")),
        row_hash(KEY, "t", "a", ("a", b"0")),
        row_hash(KEY, "t", "a", ("a", "")),
        row_hash(KEY, "t", "a", (None, "a")),
        row_hash(KEY, "ta", "", ("a", None)),
        row_hash(bytes(32), "t", "a", ("a", None)),
    }
    assert len(hashes) == 11
    assert {len(value) for value in hashes} == {16}


def test_the_hash_is_fixed() -> None:
    assert (
        row_hash(KEY, "product", "a/b", ("é", 2**63 - 1, None, 0.5, b"\x00")).hex()
        == "92bc357c014d054215a8569899686db0"
    )


def test_the_text_form() -> None:
    digest = total([("a", 1), ("b", 2)])
    assert len(digest.hex) == 32
    assert Digest.of(digest.count, digest.hex) == digest
    assert Digest().hex == "0" * 32
    assert Digest().remove(b"\x01" * 16).add(b"\x01" * 16) == Digest()


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": "e2"},
        {"scope": "t"},
        {"version": 2},
        {"digest": Digest(1, 2)},
        {"digest": Digest(2, 1)},
    ],
)
def test_a_seal_holds_for_what_it_was_made_for_alone(change: Any) -> None:
    facts: dict[str, Any] = {"epoch": "e", "scope": "s", "version": 1, "digest": Digest(1, 1)}
    text = seal(b"secret", **facts)
    assert seal_is_valid(b"secret", text, **facts)
    assert not seal_is_valid(b"secret", text, **{**facts, **change})
    assert not seal_is_valid(b"other", text, **facts)
    assert not seal_is_valid(b"secret", "", **facts)
