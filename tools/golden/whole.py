"""Stories of news that meet work which cannot be shown on them: each is told by two devices.

Knows: SQL of the two, and in which order things happen. Must not know: how a step is recorded.
"""

from __future__ import annotations

from typing import Any

Written = list[list[Any]]


def _sql(*texts: str) -> Written:
    return [[text, []] for text in texts]


_FIRST = _sql(
    "INSERT INTO item (id, store, sku, stock) VALUES ('a/b', '1', 'S', 10), ('i2', '1', NULL, 0)",
    "INSERT INTO part (store, code, n, item, note) VALUES ('1', 'x/y', 7, 'a/b', 'old')",
)
_STORIES = (
    # what the other device does; what this one has done when it hears of it
    (
        _sql("UPDATE item SET stock = stock - 20 WHERE id = 'a/b'"),
        _sql(
            "UPDATE item SET stock = stock - 8 WHERE id = 'a/b'",
            "UPDATE item SET stock = stock + 8 WHERE id = 'i2'",
        ),
    ),
    (
        _sql("INSERT INTO item (id, store, sku) VALUES ('z', '1', 'new')"),
        _sql(
            "INSERT INTO item (id, store, sku) VALUES ('m', '1', 'new')",
            "INSERT INTO part (store, code, n, item) VALUES ('1', 'p', 1, 'm')",
        ),
    ),
    (
        _sql("DELETE FROM part", "DELETE FROM item WHERE id = 'a/b'"),
        _sql("INSERT INTO part (store, code, n, item) VALUES ('1', 'p', 8, 'a/b')"),
    ),
    (
        _sql("DELETE FROM part", "DELETE FROM item WHERE id = 'a/b'"),
        _sql("UPDATE part SET note = 'mine'"),
    ),
    (
        _sql("INSERT INTO part (store, code, n, item) VALUES ('1', 'p', 9, 'i2')"),
        _sql("DELETE FROM item WHERE id = 'i2'"),
    ),
)


def stories() -> list[list[tuple[int, str, Written]]]:
    """For each: who does what, in order; the statements of an exchange are written meanwhile."""
    return [
        [
            (1, "write", _FIRST),
            (1, "exchange", []),
            (0, "exchange", []),
            (1, "write", theirs),
            (1, "exchange", []),
            (0, "exchange", [*ours, *_sql("INSERT INTO link VALUES ('with it', x'01')")]),
            (0, "retry", []),
            (0, "write", _sql("INSERT INTO link VALUES ('later', x'01')")),
            (1, "write", _sql("INSERT INTO link VALUES ('theirs', x'01')")),
            (1, "exchange", []),
            (0, "exchange", _sql("UPDATE item SET stock = stock + 1")),
            (0, "exchange", []),
            (0, "discard", []),
        ]
        for theirs, ours in _STORIES
    ] + [_of_a_row_that_is_gone()]


def _of_a_row_that_is_gone() -> list[tuple[int, str, Written]]:
    """An update is refused, and its row is not there any more when it is made again."""
    return [
        (1, "write", _FIRST),
        (1, "exchange", []),
        (0, "exchange", []),
        (1, "write", _sql("UPDATE item SET sku = 'new' WHERE id = 'i2'")),
        (1, "exchange", []),
        (0, "write", _sql("UPDATE item SET sku = 'new', stock = stock - 3 WHERE id = 'a/b'")),
        (0, "exchange", []),
        (0, "exchange", []),
        (0, "write", _sql("DELETE FROM part", "DELETE FROM item WHERE id = 'a/b'")),
        (0, "retry", []),
        (0, "exchange", []),
        (0, "retry", []),
        (0, "discard", []),
    ]
