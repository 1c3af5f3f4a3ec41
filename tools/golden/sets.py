"""Sets on a replica: what it sends, shows and has in its inbox, beside another device.

Knows: a table with sets, and stories of two devices. Must not know: how a step is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from golden import Case, Family
from golden.replicas import answer_steps, tell
from holdfast.schema import Column, Schema, Table

SCHEMA = Schema(
    name="tagged",
    tables=(
        Table(
            name="item",
            key=("id",),
            columns=(
                Column("id"),
                Column("tags", "json", merge="set"),
                Column("name", default=""),
                Column("shops", "json", merge="set", default=["all"]),
                Column("code", nullable=True),
            ),
            scopes=("catalog",),
            unique=(("code",),),
            existence_public=True,
        ),
    ),
)


def _sql(*texts: str) -> list[list[Any]]:
    return [[text, []] for text in texts]


def _tags(array: str) -> str:
    return f"UPDATE item SET tags = '{array}'"


_FIRST = _sql("""INSERT INTO item (id, tags) VALUES ('x', '["b", "a"]')""")
_STORIES = (
    # what the other device does; what this one does before it hears of it, and afterwards
    ([_tags('["b","a","c"]')], [_tags('["a"]')], [_tags('["a","d"]')]),
    ([_tags('["a","b"]')], [_tags('["b"]'), _tags('["b","c"]')], [_tags("[]")]),
    ([_tags("[]"), _tags('["a"]')], [_tags('["b"]')], [_tags('[1, 1.0, "1", {"z":1,"a":2}]')]),
    (
        ["UPDATE item SET tags = '[]', code = 'c'"],
        ["""INSERT INTO item (id, tags, code) VALUES ('y', '["n"]', 'c')"""],
        ["""UPDATE item SET tags = '["n","m"]' WHERE id = 'y'"""],
    ),
    (
        ["""INSERT INTO item (id, tags, shops) VALUES ('y', '["n"]', '["one"]')"""],
        ["""INSERT INTO item (id, tags) VALUES ('y', '["m"]')"""],
        ["""UPDATE item SET shops = '["all","two"]' WHERE id = 'y'"""],
    ),
    (["DELETE FROM item"], [_tags('["a","z"]')], [_tags('["z"]')]),
)


def _story(
    theirs: list[str], ours: list[str], later: list[str]
) -> list[tuple[int, dict[str, Any]]]:
    exchange: dict[str, Any] = {"do": "exchange"}

    def writes(who: int, texts: list[str]) -> list[tuple[int, dict[str, Any]]]:
        return [(who, {"do": "write", "statements": _sql(text)}) for text in texts]

    return [
        (1, {"do": "write", "statements": _FIRST}),
        (1, exchange),
        (0, exchange),
        *writes(1, theirs),
        (1, exchange),
        *writes(0, ours),
        (0, exchange | {"lost": True}),
        (0, exchange | {"meanwhile": _sql("UPDATE item SET name = name || 'n'")}),
        *writes(0, later),
        (0, exchange),
        (1, exchange),
        *writes(1, later),
        (1, exchange),
        (0, exchange),
        (0, {"do": "retry"}),
        (0, exchange),
        (0, {"do": "discard"}),
        (0, exchange),
    ]


def _inputs() -> Iterator[Case]:
    for seed, (theirs, ours, later) in enumerate(_STORIES):
        yield f"set {seed}", tell(SCHEMA, _story(theirs, ours, later), seed)
        yield f"set {seed}, the other way", tell(SCHEMA, _story(ours, theirs, later), seed)


SETS = Family(
    name="sets",
    about="Steps of a replica whose table has sets, told as in `replica`.",
    inputs=_inputs,
    answer=answer_steps,
    recorded=True,
)
