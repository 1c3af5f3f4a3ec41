"""Words of a search, as the index understands them; and what somebody may have meant.

Knows: words and slips of the finger (edit distance with transpositions: Damerau 1964, optimal
string alignment). Must not know: the database. All of it is pure. The twin of
`web/src/data/words.ts`; both are held to `tests/cases/words.json`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

_NEAR_MAX: Final = 8
"""A word that nothing begins with is compared with so many that come near at most."""
_MIDDLE_LENGTH_MIN: Final = 3
_IN_THE_MIDDLE: Final = 0.5


def plain(word: str) -> str:
    """Return it in lower case, without accents: as the index compares."""
    bare = (
        sign for sign in unicodedata.normalize("NFD", word) if unicodedata.category(sign)[0] != "M"
    )
    return "".join(bare).lower()


def split(typed: str) -> list[str]:
    """Return the words that are typed; what has neither letter nor digit is none."""
    return [word for word in typed.split() if any(_is_wordy(sign) for sign in word)]


def beginnings(typed: str) -> str:
    """Return a query for beginnings of words, all of them, in any order; "" for nothing."""
    return " ".join(f"{_quoted(word)}*" for word in split(typed))


def vocabulary(words: Iterable[str]) -> list[str]:
    """Return the words of names, ready to be compared with."""
    return sorted({part for word in words for part in _parts(plain(word))})


def meant(typed: str, known: Sequence[str]) -> str | None:
    """Return a query for what may have been meant, or None when nothing comes near a word."""
    found = []
    for word in split(plain(typed)):
        close = near("".join(sign for sign in word if _is_wordy(sign)), known)
        if close:
            found.append(f"({' OR '.join(map(_quoted, close))})")
        elif any(unicodedata.category(sign)[0] == "N" for sign in word):
            found.append(f"{_quoted(word)}*")
        else:
            return None
    return " AND ".join(found) or None


def near(typed: str, known: Sequence[str]) -> list[str]:
    """Return words that have `typed` in them, or begin almost like it; the nearest first."""
    slips_max = 0 if len(typed) < 4 else 1 if len(typed) < 7 else 2
    found: list[tuple[float, str]] = []
    for word in known:
        if word.startswith(typed):
            found.append((0, word))
        elif len(typed) >= _MIDDLE_LENGTH_MIN and typed in word:
            found.append((_IN_THE_MIDDLE, word))
        elif slips_max and (distance := slips(typed, word, slips_max)) <= slips_max:
            found.append((distance, word))
    found.sort(key=lambda one: (one[0], abs(len(one[1]) - len(typed))))
    # A word with one slip is not meant when another has none.
    least = max(found[0][0], _IN_THE_MIDDLE) if found else 0
    return [word for distance, word in found if distance <= least][:_NEAR_MAX]


def slips(typed: str, word: str, slips_max: int) -> int:
    """Return the least number of slips that make `typed` the beginning of `word`.

    A slip is a letter wrong, missing, too many, or two changed over. Gives up above `slips_max`,
    with a number above it.
    """
    width = min(len(word), len(typed) + slips_max)
    before: list[int] = []
    last = list(range(width + 1))
    for row in range(1, len(typed) + 1):
        now = [row]
        for column in range(1, width + 1):
            wrong = typed[row - 1] != word[column - 1]
            least = min(last[column] + 1, now[column - 1] + 1, last[column - 1] + wrong)
            if (
                row > 1
                and column > 1
                and typed[row - 1] == word[column - 2]
                and typed[row - 2] == word[column - 1]
            ):
                least = min(least, before[column - 2] + 1)
            now.append(least)
        if min(now) > slips_max:
            return slips_max + 1
        before, last = last, now
    return min(last)


def _quoted(word: str) -> str:
    return '"' + word.replace('"', "") + '"'


def _is_wordy(sign: str) -> bool:
    return unicodedata.category(sign)[0] in "LN"


def _parts(word: str) -> list[str]:
    return "".join(sign if _is_wordy(sign) else " " for sign in word).split()
