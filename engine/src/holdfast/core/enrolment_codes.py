"""Enrolment codes and device tokens: how they look, and what is kept of them.

Knows: their alphabets, check character and hashes. Must not know: users, a database, or when one
expires. Randomness is handed in.
A code is read out and typed by people: no letter or digit that is taken for another, in groups,
with a check character that finds any single wrong character and any two that changed places.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import Final

from holdfast.core.errors import BadValue
from holdfast.core.ids import RandomBytes

ALPHABET: Final = "ACDEFGHJKMNPRTVWXY34679"
"""23 characters: a prime, so that the check finds every exchange of two."""
CODE_LENGTH: Final = 12
"""With its check character; 11 random ones are 49 bits, good for the minutes a code lives."""
_GROUP: Final = 4
_MARK: Final = "hft_"
_TOKEN_BYTES: Final = 32


def new_code(random_bytes: RandomBytes) -> str:
    """A code for a person, such as ``K7FX-3MCA-9TRW``."""
    value = int.from_bytes(random_bytes(16), "big")  # 128 bits: the rest of the division is even
    body = ""
    for _ in range(CODE_LENGTH - 1):
        value, index = divmod(value, len(ALPHABET))
        body += ALPHABET[index]
    code = body + _check_character(body)
    return "-".join(code[start : start + _GROUP] for start in range(0, CODE_LENGTH, _GROUP))


def normal_code(text: str) -> str:
    """A code as it was meant: capitals, without blanks and hyphens.

    Raises ``BadValue`` (``bad_code``) when it cannot be one; then it was mistyped.
    """
    code = "".join(text.split()).replace("-", "").upper()
    if (
        len(code) != CODE_LENGTH
        or any(character not in ALPHABET for character in code)
        or _check_character(code[:-1]) != code[-1]
    ):
        raise BadValue("this is not an enrolment code; look for a typing error", code="bad_code")
    return code


def _check_character(body: str) -> str:
    total = sum(place * ALPHABET.index(character) for place, character in enumerate(body, start=2))
    return ALPHABET[-total % len(ALPHABET)]


def new_token(random_bytes: RandomBytes) -> str:
    """A device token: 256 random bits, with a prefix that scanners for secrets can look for."""
    raw = random_bytes(_TOKEN_BYTES)
    return _MARK + urlsafe_b64encode(raw).rstrip(b"=").decode()


def is_token(text: str) -> bool:
    """Return whether a text has the form of a device token of ours."""
    return text.startswith(_MARK) and len(text) <= 64 and text.isascii()


def secret_hash(purpose: str, secret: str) -> bytes:
    """Return what is stored of a code, token or attempt. Tokens are random enough for a plain
    hash.
    """
    text = f"holdfast {purpose} {secret}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
