"""Columns that are one decision, on a replica: what it sends, shows and settles of them.

Knows: two tables with a group, and stories of two devices. Must not know: how a step is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from golden import Case, Family
from golden.replicas import answer_steps, tell
from holdfast.schema import Column, Schema, Table
from holdfast.schema.policies import MergePolicy


def _goods(name: str, policy: MergePolicy) -> Table:
    return Table(
        name=name,
        key=("id",),
        columns=(
            Column("id"),
            Column("price", "decimal", scale=2, merge=policy, default="0.00"),
            Column("name", default=""),
            Column("currency", merge=policy, default="EUR"),
            Column("weight", "real", merge=policy, nullable=True),
            Column("unit", merge=policy, default="kg"),
            Column("sold", "integer", merge="counter"),
            Column("code", nullable=True),
        ),
        scopes=("catalog",),
        unique=(("code",),),
        existence_public=True,
        groups=(("price", "currency"), ("weight", "unit")),
    )


SCHEMA = Schema(name="goods", tables=(_goods("asked", "manual"), _goods("last", "latest")))


def _both(*texts: str) -> list[list[Any]]:
    return [[text.format(table=table), []] for text in texts for table in ("asked", "last")]


_FIRST = _both("INSERT INTO {table} (id, price, weight) VALUES ('x', '10.00', 1.5)")
_STORIES = (
    # what the other device does; what this one has done when it hears of it
    (
        _both("UPDATE {table} SET price = '16.00', currency = 'JPY'"),
        _both("UPDATE {table} SET price = '11.00', sold = sold + 2"),
    ),
    (
        _both("UPDATE {table} SET price = '11.00'", "UPDATE {table} SET unit = 'g'"),
        _both("UPDATE {table} SET currency = 'JPY'", "UPDATE {table} SET name = 'n'"),
    ),
    (
        _both("INSERT INTO {table} (id, price) VALUES ('y', '7.00')"),
        _both(
            "INSERT INTO {table} (id, currency) VALUES ('y', 'KWD')",
            "INSERT OR REPLACE INTO {table} (id, unit) VALUES ('x', 'lb')",
        ),
    ),
    (
        _both("DELETE FROM {table}"),
        _both("UPDATE {table} SET weight = NULL"),
    ),
    (
        _both("INSERT INTO {table} (id, code) VALUES ('z', 'c')", "UPDATE {table} SET unit = 'g'"),
        _both("UPDATE {table} SET currency = 'JPY', code = 'c'"),
    ),
)
_PRICE = {"price": "12.50", "currency": "KWD"}
_WEIGHT = {"weight": 2.5, "unit": "t"}


def _story(theirs: Any, ours: Any) -> list[tuple[int, dict[str, Any]]]:
    exchange, settle = {"do": "exchange"}, {"do": "resolve", "keep": "device"}
    return [
        (1, {"do": "write", "statements": _FIRST}),
        (1, exchange),
        (0, exchange),
        (1, {"do": "write", "statements": theirs}),
        (1, exchange),
        (0, {"do": "write", "statements": ours}),
        (0, exchange | {"meanwhile": _both("UPDATE {table} SET sold = sold + 1")}),
        (0, {"do": "write", "statements": _both("UPDATE {table} SET price = '13.00'")}),
        (0, exchange),
        (0, {"do": "resolve", "value": {"price": "1.00"}}),
        (0, {"do": "resolve", "value": "1.00"}),
        (0, {"do": "resolve", "value": _PRICE}),
        (0, {"do": "resolve", "value": _WEIGHT}),
        (0, settle),
        (1, exchange),
        (1, {"do": "write", "statements": _both("UPDATE {table} SET code = NULL")}),
        (1, exchange),
        (0, exchange),
        (0, {"do": "retry"}),
        (0, exchange),
        (0, settle),
        (0, exchange),
    ]


def _inputs() -> Iterator[Case]:
    for seed, (one, other) in enumerate(_STORIES):
        yield f"group {seed}", tell(SCHEMA, _story(one, other), seed)
        yield f"group {seed}, the other way", tell(SCHEMA, _story(other, one), seed)


GROUPS = Family(
    name="groups",
    about="Steps of a replica whose tables have groups, told as in `replica`; a person also gives "
    "a `value` for all columns of a group, or for a part of one.",
    inputs=_inputs,
    answer=answer_steps,
    recorded=True,
)
