"""Rules for passwords: those that are too easy to guess are refused.

Knows: a list of what people choose first, the rows of keyboards, and the name that goes with it.
Must not know: hashes, or a database. Nothing is asked of anybody: it works with no connection.

Length does most (NIST SP 800-63B: length, and what is known to be common; no rules about kinds of
characters): with sign-in tries limited, 12 characters that are none of the below stand against
guessing from outside; Argon2id makes up for it where hashes are lost.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from holdfast.core.errors import UsageError
from holdfast.core.limits import (
    PASSWORD_DISTINCT_MIN,
    PASSWORD_LENGTH_MAX,
    PASSWORD_LENGTH_MIN,
    PASSWORD_OWN_MIN,
)

_COMMON: Final = (
    "password", "passwort", "motdepasse", "contrasena", "senha", "wachtwoord", "passphrase",
    "passwd", "passw", "letmein", "welcome", "willkommen", "bienvenue", "admin", "administrator",
    "root", "master", "login", "signin", "default", "changeme", "secret", "geheim", "test", "guest",
    "user", "demo", "hello", "hallo", "iloveyou", "loveme", "love", "princess", "sunshine",
    "monkey", "dragon", "football", "baseball", "basketball", "hockey", "soccer", "superman",
    "batman", "starwars", "pokemon", "minecraft", "whatever", "trustno", "shadow", "michael",
    "jennifer", "jordan", "charlie", "freedom", "computer", "internet", "samsung", "google",
    "facebook", "abc", "qwerty", "qwertz", "azerty", "asdf", "zxcv", "qazwsx", "summer", "winter",
    "spring", "autumn", "january", "february", "march", "april", "june", "july", "august",
    "september", "october", "november", "december", "monday", "friday", "company", "office",
    "shop", "store", "till", "kasse", "holdfast", "access", "system", "server", "the", "and",
    "your", "mein",
)  # fmt: skip
_ROWS: Final = (
    "abcdefghijklmnopqrstuvwxyz", "01234567890123456789", "qwertyuiop", "asdfghjkl", "zxcvbnm",
    "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn", "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujm", "!@#$%^&*()_+",
)  # fmt: skip
_RUN: Final = 4
_LOOKALIKES: Final = str.maketrans("@4301!$57", "aaeoiisst")


def check(password: str, *, name: str = "") -> None:
    """Raise ``UsageError`` (``bad_password``) for one that is too short, or easy to guess.

    ``name``: of the user; a password is not made of it.
    """
    if len(password) > PASSWORD_LENGTH_MAX:
        raise _bad(f"a password has at most {PASSWORD_LENGTH_MAX} characters")
    if len(password.strip()) < PASSWORD_LENGTH_MIN:
        raise _bad(
            f"a password has at least {PASSWORD_LENGTH_MIN} characters, without blanks around it; "
            "a few words that do not belong together are easy to keep in mind"
        )
    plain = unicodedata.normalize("NFKC", password).casefold()
    if len(set(plain)) < PASSWORD_DISTINCT_MIN:
        raise _bad(f"a password has at least {PASSWORD_DISTINCT_MIN} different characters")
    # What is left when all that is guessed first is taken out is what guessing has to find.
    if len(set(_own(plain, name.casefold()))) < PASSWORD_OWN_MIN or _is_repeated(plain):
        raise _bad(
            "this password is among the first to be guessed (common words, the name, rows of keys, "
            "repetitions); a few words that do not belong together are better"
        )


def _own(plain: str, name: str) -> str:
    """Return what of it is neither common, nor the name, nor a row of keys."""
    shortest = plain
    for text in (plain, plain.translate(_LOOKALIKES)):
        rest = text
        parts = [part for part in (name, *name.replace(".", " ").split()) if len(part) >= 3]
        for word in sorted((*_COMMON, *parts), key=len, reverse=True):
            rest = rest.replace(word, " ")
        own = "".join(character for character in _without_runs(rest) if character.isalnum())
        shortest = min(shortest, own, key=len)
    return shortest


def _without_runs(text: str) -> str:
    kept = ""
    at = 0
    while at < len(text):
        length = max(_run(text, at, row) for row in (*_ROWS, *(row[::-1] for row in _ROWS)))
        if length >= _RUN:
            at += length
        else:
            kept += text[at]
            at += 1
    return kept


def _run(text: str, at: int, row: str) -> int:
    """Return how many characters from ``at`` on stand so in a row."""
    length = 0
    while at + length < len(text) and text[at : at + length + 1] in row:
        length += 1
    return length


def _is_repeated(plain: str) -> bool:
    """Return whether it is one short piece again and again."""
    text = "".join(plain.split())
    return any(text == (text[:n] * len(text))[: len(text)] for n in range(1, len(text) // 2 + 1))


def _bad(why: str) -> UsageError:
    return UsageError(why, code="bad_password")
