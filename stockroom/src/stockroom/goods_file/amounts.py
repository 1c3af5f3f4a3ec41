"""Amounts in a column, as people and programs write them: 1.234,50 or 1,234.50, in any digits.

Knows: signs of currencies, marks between groups of digits, and that one column is written one way.
Must not know: what the amounts are of. A mark is decided for the whole column, never by a cell.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Final

from stockroom import prices

_LETTERS: Final = re.compile(r"^[A-Za-z]{3}\s*|\s*[A-Za-z]{3}$")
_GROUPING: Final = dict.fromkeys(map(ord, " '"))
_SHAPE: Final = re.compile(r"[+-]?[0-9.,]+\Z")
_GROUP: Final = 3
_CLEAR: Final = 1_000_000
"""Weight of an amount that can be read one way only, against those that may be read in two."""


def plain(text: str) -> str:
    """The amount in ASCII digits, without the sign of a currency and blanks between digits."""
    marked = "".join(one for one in prices.plain(text) if unicodedata.category(one) != "Sc")
    return _LETTERS.sub("", marked.strip()).translate(_GROUPING).replace("\u066b", ".")


def decimal_mark(cells: Iterable[str], *, places: int = 2) -> str:
    """The mark before the fraction in a column: `.` or `,`.

    `places`: digits that such amounts have at most, where that is known: three behind a mark are
    then a group.
    """
    votes = {".": 0, ",": 0}
    for cell in cells:
        mark, weight = _vote(plain(cell), places)
        votes[mark] += weight
    return "," if votes[","] > votes["."] else "."


def parse(text: str, mark: str) -> Decimal | None:
    """The amount, or None for what is none with this mark before the fraction."""
    shown = plain(text)
    if not _SHAPE.match(shown):
        return None
    group = "," if mark == "." else "."
    whole, _mark, fraction = shown.partition(mark)
    groups = whole.lstrip("+-").split(group)
    if group in fraction or mark in fraction:
        return None
    if len(groups) > 1 and not (
        1 <= len(groups[0]) <= _GROUP and all(len(one) == _GROUP for one in groups[1:])
    ):
        return None
    try:
        return Decimal(f"{whole.replace(group, '')}.{fraction or '0'}")
    except InvalidOperation:
        return None


def _vote(shown: str, places: int) -> tuple[str, int]:
    """The mark that an amount shows to be the one before a fraction, and how clearly."""
    marks = [one for one in shown if one in ".,"]
    if not marks or not _SHAPE.match(shown):
        return ".", 0
    last = marks[-1]
    other = "," if last == "." else "."
    if other in marks:
        return last, _CLEAR
    if len(marks) > 1:
        return other, _CLEAR
    before, _mark, behind = shown.partition(last)
    if len(behind) != _GROUP or before.lstrip("+-") in ("", "0"):
        return last, _CLEAR
    return other, 1 if places < _GROUP else 0
