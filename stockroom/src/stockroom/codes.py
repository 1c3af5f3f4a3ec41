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

_AIM: Final = re.compile(r"\][A-Za-z]\d")
_GS1: Final = ("]C1", "]e0", "]d2", "]Q3")
"""Carriers of element strings; the element 01 is a GTIN of 14 digits."""
_GS1_GTIN: Final = re.compile(r"01(\d{14})")
_BETWEEN: Final = re.compile(r"[\s\u2010-\u2015-]+")
_DIGITS: Final = re.compile(r"[0-9]+\Z")
_SHORTENED: Final = re.compile(r"[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+\Z")
_CHECKED_LENGTHS: Final = (12, 13, 14)
"""Digits of numbers that have a check digit for sure; those of 8 may be the shop's own."""


def canonical(text: str) -> str:
    """The one form of a code, however it was scanned, printed or typed; "" for nothing."""
    code = _without_aim(text.strip())
    digits = _BETWEEN.sub("", code)
    if not _DIGITS.match(digits):
        return code
    if not _is_gtin(digits):
        return digits
    number = digits.lstrip("0")
    return number.zfill(8 if len(number) <= 8 else 13)


def doubt(text: str) -> Doubt | None:
    """Return why a code may be a mistake, or None."""
    code = _without_aim(text.strip())
    if _SHORTENED.match(code):
        return "shortened"
    digits = _BETWEEN.sub("", code)
    if _DIGITS.match(digits) and len(digits) in _CHECKED_LENGTHS and not _checks(digits):
        return "bad_check_digit"
    return None


def _without_aim(text: str) -> str:
    found = _AIM.match(text)
    if found is None or found.end() == len(text):
        return text
    rest = text[found.end() :].strip()
    gtin = _GS1_GTIN.match(rest) if found.group() in _GS1 else None
    return gtin.group(1) if gtin else rest


def _is_gtin(digits: str) -> bool:
    """Return whether these digits are a GTIN; 9 to 11 have lost the zeros in front."""
    return 8 <= len(digits) <= 14 and digits.strip("0") != "" and _checks(digits)


def _checks(digits: str) -> bool:
    """Return whether the last digit is the check digit: weights 3, 1, 3... from the right."""
    body = reversed(digits[:-1])
    total = sum(int(digit) * (1 if at % 2 else 3) for at, digit in enumerate(body))
    return (total + int(digits[-1])) % 10 == 0
