"""SKUs as people type them: which two a person would take for one.

Knows: that case, blanks and width make no other SKU. Must not know: who has which. The twin of
`web/src/data/skus.ts`; both are held to `tests/cases/skus.json`. A database finds those that may be
one by `FOLDED`, among `spellings`; whether they are is `like`'s to say.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

FOLDED: Final = "lower(replace(sku, ' ', ''))"
"""SQL for a SKU without blanks and, as far as a database goes, without case."""
LIKE_SQL: Final = (f"CREATE INDEX product_sku_like ON product ({FOLDED})",)
"""Part of the schema's `local` SQL."""

_BLANKS: Final = re.compile(r"\s+")
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def tidy(text: str) -> str:
    """The SKU as it is kept: without blanks around it, and with single ones in it."""
    return _BLANKS.sub(" ", text).strip()


def like(sku: str) -> str:
    """The SKU as it is compared."""
    wide = unicodedata.normalize("NFKC", sku)
    return _BLANKS.sub("", unicodedata.normalize("NFKC", wide.upper().lower()))


def spellings(sku: str) -> list[str]:
    """Forms in which a database may hold SKUs like this one, as `FOLDED` gives them."""
    plain = _BLANKS.sub("", sku)
    narrow = unicodedata.normalize("NFKC", plain)
    forms = {form for one in (plain, narrow) for form in (one, one.lower(), one.upper())}
    return sorted({form.translate(_ASCII_LOWER) for form in forms})
