"""Article numbers as they are scanned, printed and typed, in the one form in which they are kept.

Knows: GTINs (GS1 General Specifications, section 7.9: check digits) and the identifiers that
scanners put in front (ISO/IEC 15424). Must not know: the database. The twin of
`web/src/data/codes.ts`; both are held to `tests/cases/codes.json`.

UPC-A (12 digits), EAN-13 and a GTIN-14 that begins with 0 are one number with more or fewer zeros
in front: it is kept with 13 digits. A GTIN-14 of a case keeps its 14, an EAN-8 its 8. Codes of the
shop's own are kept as they are.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Doubt = Literal["bad_check_digit", "shortened"]
"""Why a code may be a mistake: its check digit is wrong, or a spreadsheet has shortened it."""

_AIM: Final = re.compile(r"\][A-Za-z][0-9]")
_GS1: Final = ("]C1", "]e0", "]e1", "]e2", "]d2", "]Q3", "]J1")
"""Carriers of element strings; the element 01 is a GTIN of 14 digits."""
_GROUP: Final = "\u001d"
"""Between elements whose length is not fixed."""
_WITH_BRACKETS: Final = re.compile(r"(?:\([0-9]{2,4}\)[^()]+)+\Z")
_GTIN_IN_BRACKETS: Final = re.compile(r"\(01\)([0-9]{14})(?:\(|\Z)")
_FIXED: Final = re.compile(
    r"(?:00[0-9]{18}|02[0-9]{14}|1[1-7][0-9]{6}|20[0-9]{2}|[^\u001d]*\u001d)(?=.)"
)
"""An element in front of another: of a fixed length, or up to the sign between them."""
_BARE_GTIN: Final = re.compile(r"01([0-9]{14})")
_WITH_ADD_ON: Final = ("]E3", re.compile(r"([0-9]{13})[0-9]{2}(?:[0-9]{3})?\Z"))
"""A book or a magazine: its number, and behind it those of the price or the issue."""
_BLANK: Final = " \t\n\r\f\v\u00a0\u2000-\u200a\u202f\u3000"
_BETWEEN: Final = re.compile(rf"[{_BLANK}\u2010-\u2015-]+")
_EDGES: Final = re.compile(rf"^[{_BLANK}]+|[{_BLANK}]+$")
_DIGITS: Final = re.compile(r"[0-9]+\Z")
_SHORTENED: Final = re.compile(r"[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+\Z")
_CHECKED_LENGTHS: Final = (12, 13, 14)
"""Digits of numbers that have a check digit for sure; those of 8 may be the shop's own."""


def canonical(text: str) -> str:
    """The one form of a code, however it was scanned, printed or typed; "" for nothing."""
    code = _bare(text)
    digits = _BETWEEN.sub("", code)
    if not _DIGITS.match(digits):
        return code
    if not _is_gtin(digits):
        return digits
    number = digits.lstrip("0")
    return number.zfill(8 if len(number) <= 8 else 13)


def doubt(text: str) -> Doubt | None:
    """Return why a code may be a mistake, or None."""
    code = _bare(text)
    if _SHORTENED.match(code):
        return "shortened"
    digits = _BETWEEN.sub("", code)
    if _DIGITS.match(digits) and len(digits) in _CHECKED_LENGTHS and not _checks(digits):
        return "bad_check_digit"
    return None


def proves_itself(text: str) -> bool:
    """Return whether a part of it would hardly pass for it: by its check digit or its carrier.

    Eight digits may be an EAN-8 or a UPC-E, whose check digit is that of the whole number.
    """
    stripped = _EDGES.sub("", text)
    code = _bare(text)
    digits = _BETWEEN.sub("", code)
    if not _DIGITS.match(digits) or not digits.strip("0"):
        return _AIM.match(stripped) is not None and code != stripped
    if len(digits) == 8 and digits[0] in "01" and _checks(_expanded(digits)):
        return True
    return len(digits) in (8, *_CHECKED_LENGTHS) and _checks(digits)


def _bare(text: str) -> str:
    """The code without what a scanner puts in front; of GS1 elements the GTIN, if there is one."""
    plain = _EDGES.sub("", text)
    found = _AIM.match(plain)
    if found is not None and found.end() < len(plain):
        plain, aim = _EDGES.sub("", plain[found.end() :]), found.group()
    else:
        aim = ""
    is_elements = aim in _GS1 or plain.startswith(_GROUP)
    gtin = _gtin_in(plain.lstrip(_GROUP), is_elements=is_elements)
    if gtin is not None:
        return gtin
    carrier, form = _WITH_ADD_ON
    with_add_on = form.match(plain) if aim == carrier else None
    return with_add_on.group(1) if with_add_on else plain.strip(_GROUP)


def _gtin_in(elements: str, *, is_elements: bool) -> str | None:
    """The element 01, wherever it stands; without a sign of its carrier only a GTIN that fits."""
    if _WITH_BRACKETS.match(elements):
        found = _GTIN_IN_BRACKETS.search(elements)
        return found.group(1) if found else None
    rest = elements
    while (skipped := _FIXED.match(rest)) and not rest.startswith("01"):
        rest = rest[skipped.end() :]
    found = _BARE_GTIN.match(rest)
    if found is None:
        return None
    is_alone = len(rest) == len(found.group()) or _GROUP in elements
    return found.group(1) if is_elements or (is_alone and _checks(found.group(1))) else None


def _expanded(digits: str) -> str:
    """The UPC-A that eight digits of a UPC-E are short for."""
    system, body, last, check = digits[0], digits[1:6], digits[6], digits[7]
    if last in "012":
        number = f"{body[:2]}{last}0000{body[2:]}"
    elif last == "3":
        number = f"{body[:3]}00000{body[3:]}"
    elif last == "4":
        number = f"{body[:4]}00000{body[4]}"
    else:
        number = f"{body}0000{last}"
    return system + number + check


def _is_gtin(digits: str) -> bool:
    """Return whether these digits are a GTIN; 9 to 11 have lost the zeros in front."""
    return 8 <= len(digits) <= 14 and digits.strip("0") != "" and _checks(digits)


def check_digit(body: str) -> str:
    """The check digit that belongs behind digits: weights 3, 1, 3... from the right."""
    total = sum(int(digit) * (1 if at % 2 else 3) for at, digit in enumerate(reversed(body)))
    return str(-total % 10)


def _checks(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others."""
    return digits[-1:] == check_digit(digits[:-1])
