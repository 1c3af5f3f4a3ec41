"""Keys have one canonical text, the same in Python and in SQL; rows say what scopes they are in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast.core.errors import BadValue, ConstraintFailed
from holdfast.core.keys import check_key, key_text, key_values, row_key, row_scopes
from holdfast.core.limits import (
    KEY_BYTES_MAX,
    SCOPE_NAME_LENGTH_MAX,
    TIMESTAMP_US_MAX,
    TIMESTAMP_US_MIN,
)
from holdfast.core.values import KEY_TYPES
from holdfast.schema import Column, Table
from holdfast.sql.names import key_sql
from holdfast.sql.tables import create_table
from holdfast.sqlite import Connection, OpenOptions, driver

BOUNDED = settings(max_examples=examples(200))
TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30
)
TRICKY = st.text("%/2F25\\'\"é日 ", min_size=1, max_size=12)
BY_TYPE = {
    "text": TEXT | TRICKY,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "bytes": st.binary(min_size=1, max_size=20),
    "uuid": st.uuids().map(str),
    "timestamp": st.integers(TIMESTAMP_US_MIN, TIMESTAMP_US_MAX),
    "date": st.dates().map(str),
}


def keyed(*kinds: str) -> Table:
    """A table whose key has columns of these types, after a column that is no key."""
    columns = tuple(Column(f"k{n}", kind) for n, kind in enumerate(kinds))  # type: ignore[arg-type]
    return Table(
        "t", tuple(c.name for c in columns), (Column("x", nullable=True), *columns), ("all",)
    )


@st.composite
def keys(draw: st.DrawFn) -> tuple[Table, tuple[object, ...]]:
    kinds = draw(st.lists(st.sampled_from(KEY_TYPES), min_size=1, max_size=4))
    return keyed(*kinds), tuple(draw(BY_TYPE[kind]) for kind in kinds)


@contextmanager
def made(library: str, table: Table) -> Iterator[Connection]:
    with closing(driver(library).connect(":memory:", OpenOptions())) as db:
        db.execute(create_table(table))
        yield db


@BOUNDED
@given(keys())
def test_key_text_round_trip(case: Any) -> None:
    table, key = case
    text = key_text(table, key)
    assert key_values(table, text) == key
    assert check_key(table, key) == key
    assert row_key(table, (None, *key)) == text


@BOUNDED
@given(st.tuples(TRICKY, TRICKY), st.tuples(TRICKY, TRICKY))
def test_different_keys_have_different_texts(left: Any, right: Any) -> None:
    table = keyed("text", "text")
    assert (key_text(table, left) == key_text(table, right)) == (left == right)


@pytest.mark.hypothesis
@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_sql_makes_the_same_text(library: Any) -> None:
    @settings(max_examples=examples(100))
    @given(keys())
    def run(case: Any) -> None:
        table, key = case
        with made(library, table) as db:
            marks = ", ".join("?" * len(key))
            db.execute(f"INSERT INTO t VALUES (NULL, {marks})", key)
            assert db.execute(f"SELECT {key_sql(table)}, {key_sql(table, 't.')} FROM t") == [
                (key_text(table, key),) * 2
            ]

    run()


@pytest.mark.parametrize(
    ("kinds", "key", "text"),
    [
        (("text",), ("a/b%c",), "a/b%c"),
        (("text", "text"), ("a/b", "%2F"), "a%2Fb/%252F"),
        (("text", "text"), ("a", "b/"), "a/b%2F"),
        (("integer",), (-(2**63),), "-9223372036854775808"),
        (("bytes",), (b"\x00\xaf",), "00af"),
        (("bytes", "integer", "date"), (b"\xff", 5, "2024-01-01"), "ff/5/2024-01-01"),
    ],
)
def test_the_form_is_fixed(kinds: Any, key: Any, text: Any) -> None:
    assert key_text(keyed(*kinds), key) == text


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        (("integer",), "five"), (("integer",), ""), (("bytes",), "0g"), (("text", "text"), "a"),
        (("text", "text"), "a/b/c"), (("integer", "text"), "x/a"),
    ],
)  # fmt: skip
def test_what_is_no_key_raises_value_error(kinds: Any, text: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        key_values(keyed(*kinds), text)


@pytest.mark.parametrize(
    ("kinds", "key"),
    [
        (("text",), (None,)), (("text",), (5,)), (("text",), ()), (("text",), ("a", "b")),
        (("integer",), ("5",)), (("uuid",), ("x",)), (("text",), ("\0",)), (("text",), ("\ud800",)),
    ],
)  # fmt: skip
def test_check_key_refuses(kinds: Any, key: Any) -> None:
    with pytest.raises(BadValue) as caught:
        check_key(keyed(*kinds), key)
    assert caught.value.code == "bad_key"


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
@pytest.mark.parametrize(
    ("kinds", "key"),
    [
        (("text",), ("é" * (KEY_BYTES_MAX // 2),)),
        (("bytes",), (b"x" * (KEY_BYTES_MAX // 2),)),
        (("text", "text"), ("%" * 300, "x" * (KEY_BYTES_MAX - 901))),
        (("integer", "bytes"), (7, b"x" * 511)),
    ],
)
def test_the_longest_key_is_the_same_in_sql_and_python(kinds: Any, key: Any, library: Any) -> None:
    table = keyed(*kinds)
    longer = (*key[:-1], key[-1] + key[-1][:1])
    assert len(key_text(table, key).encode()) <= KEY_BYTES_MAX
    with pytest.raises(BadValue) as caught:
        key_text(table, longer)
    assert caught.value.code == "bad_key"
    with made(library, table) as db:
        marks = ", ".join("?" * len(key))
        db.execute(f"INSERT INTO t VALUES (NULL, {marks})", key)
        with pytest.raises(ConstraintFailed):
            db.execute(f"INSERT INTO t VALUES (NULL, {marks})", longer)


# --- scopes -------------------------------------------------------------------------------------


def scoped(*templates: str) -> Table:
    columns = (
        Column("id"), Column("a"), Column("b"), Column("n", "integer"), Column("raw", "bytes"),
        Column("names", "json"),
    )  # fmt: skip
    return Table("t", ("id",), columns, templates)


def scopes(table: Table, **given: object) -> tuple[str, ...]:
    values = {"id": "id", "a": "x", "b": "y", "n": 5, "raw": b"\xff", "names": "[]"} | given
    return row_scopes(table, tuple(values.values()))  # type: ignore[arg-type]


def test_scopes_of_a_row() -> None:
    assert scopes(scoped("catalog")) == ("catalog",)
    assert scopes(scoped("s/{a}/{b}", "all", "all")) == ("all", "s/x/y")
    assert scopes(scoped("{n}:{raw}")) == ("5:ff",)
    assert scopes(scoped("s/{a}", "s/{b}"), a="same", b="same") == ("s/same",)
    assert scopes(scoped("*{names}", "z"), names='["b", "a", "b"]') == ("a", "b", "z")
    assert scopes(scoped("*{names}")) == ()


@given(st.text("{ab}n", max_size=8), st.text("{ab}n", max_size=8))
@BOUNDED
def test_a_value_that_looks_like_a_template_is_only_a_value(a: Any, b: Any) -> None:
    if a and b:
        assert scopes(scoped("s/{a}/{b}/{n}"), a=a, b=b) == (f"s/{a}/{b}/5",)


@pytest.mark.parametrize("empty", [None, "", b""])
def test_an_empty_value_names_no_scope(empty: Any) -> None:
    with pytest.raises(BadValue):
        scopes(scoped("s/{a}"), a=empty)


@pytest.mark.parametrize(
    "names",
    [
        None,
        "",
        "{}",
        "5",
        "[5]",
        '[""]',
        "[null]",
        "[",
        '"a"',
        b"[]",
        '["a"' + ', "a"' * 1000 + "]",
    ],
)
def test_an_array_of_scopes_is_one_of_names(names: Any) -> None:
    with pytest.raises(BadValue):
        scopes(scoped("*{names}"), names=names)


def test_a_scopes_name_has_a_limit() -> None:
    assert scopes(scoped("{a}"), a="x" * SCOPE_NAME_LENGTH_MAX)
    with pytest.raises(BadValue):
        scopes(scoped("{a}"), a="x" * (SCOPE_NAME_LENGTH_MAX + 1))
