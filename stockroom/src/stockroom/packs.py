"""Cases: codes that name several pieces at once, as they are typed and said.

Knows: how a pack size is written beside a code, and which piece a case of it is likely to hold.
Must not know: the database. The twin of `web/src/data/packs.ts`; both are held to
`tests/cases/packs.json`.
"""

from __future__ import annotations

import re
from typing import Final

from stockroom.codes import canonical, check_digit
from stockroom.schema import PACK_MAX

_WITH_PACK: Final = re.compile(r"(.*\S)(?:\s+[xX×]\s*|\s*[*×]\s*)([0-9]{1,9})\s*\Z")
_CASE: Final = re.compile(r"[1-8][0-9]{13}\Z")
"""A GTIN-14 of a case; one that begins with 9 is of goods that are weighed."""


def read_pack(text: str) -> tuple[str, int | None]:
    """A code and the pieces in what has it: `1400… x12`, also `×12` or `*12`; None: not said.

    A number that is no pack size (`is_pack`) is given as it stands.
    """
    found = _WITH_PACK.match(text)
    if found is None:
        return text.strip(), None
    return found.group(1).strip(), int(found.group(2))


def write_pack(code: str, pack: int) -> str:
    """The same as a text: what `read_pack` reads."""
    return code if pack == 1 else f"{code} x{pack}"


def is_pack(pack: int) -> bool:
    """Return whether so many can be in one package."""
    return 1 <= pack <= PACK_MAX


def piece_of(code: str) -> str:
    """The code of the goods of which a code may be a case, by GS1's rule for GTIN-14; else ""."""
    case = canonical(code)
    if not _CASE.match(case) or case[-1] != check_digit(case[:-1]):
        return ""
    body = case[1:13]
    return canonical(body + check_digit(body))


def in_words(count: int, pack: int) -> str:
    """Cases as pieces: "1 case of 12 = 12"."""
    cases = "case" if abs(count) == 1 else "cases"
    return f"{count} {cases} of {pack} = {count * pack}"
