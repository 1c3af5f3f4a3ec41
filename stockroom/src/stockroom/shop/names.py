"""Names as people type them: cleaned, bounded, and compared as a person would.

Knows: what makes two names the same to a reader. Must not know: what is named.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import Final

from holdfast.core.errors import UsageError
from holdfast.core.ids import uuid7
from holdfast.core.values import Value

NAME_LENGTH_MAX: Final = 100
_BLANKS: Final = re.compile(r"\s+")
_NO_LETTERS: Final = re.compile(r"[^a-z0-9]+")
_SLUG_MAX: Final = 32
_CONTROLS: Final = ("Cc", "Cs")


def cleaned(text: str, what: str) -> str:
    """A name without blanks around it and double ones in it. Raises `UsageError` (`bad_name`)."""
    name = unicodedata.normalize("NFC", _BLANKS.sub(" ", text).strip())
    if not name:
        raise UsageError(f"{what} needs a name", code="bad_name")
    if len(name) > NAME_LENGTH_MAX:
        raise UsageError(
            f"the name of {what} has at most {NAME_LENGTH_MAX} characters", code="bad_name"
        )
    if any(unicodedata.category(one) in _CONTROLS for one in name):
        raise UsageError(
            f"the name of {what} has a character that cannot be seen: type it again",
            code="bad_name",
        )
    return name


def folded(name: Value) -> str:
    """The name as it is compared: case, and how blanks are set, make no other name."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", str(name))).strip().casefold()


def slug(name: str, now_us: int) -> str:
    """A short id that can be read: from the letters of the name, or by chance where it has none."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    found = _NO_LETTERS.sub("-", plain).strip("-")[:_SLUG_MAX].strip("-")
    return found or fresh(now_us)


def fresh(now_us: int) -> str:
    """An id that nothing else has."""
    return uuid7(now_us, secrets.token_bytes)
