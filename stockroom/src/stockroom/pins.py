"""PINs: how a till knows who stands before it, without a connection.

Knows: what a PIN looks like, and how it is kept. Must not know: tables, people, or who waits for
how long. A slow hash with a salt is all that a till has of a PIN. It keeps an onlooker from working
in another's name; whoever copies a till's file can try all 10,000 PINs of four digits in an hour.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from holdfast.core.errors import UsageError

DIGITS_MIN: Final = 4
DIGITS_MAX: Final = 8
ROUNDS: Final = 600_000
"""Of PBKDF2 with SHA-256, which every browser has; about half a second on a phone."""
SALT_BYTES: Final = 16
FREE_TRIES: Final = 3
"""So many wrong ones cost nothing: a finger slips."""
FIRST_WAIT_S: Final = 30
WAIT_S_MAX: Final = 15 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPin:
    """Salt and hash in hexadecimal digits."""

    salt: str
    hash: str
    rounds: int


def keep(pin: str, salt: bytes) -> KeptPin:
    """Return what is kept of a PIN. Raises `UsageError` (`bad_pin`)."""
    if not (DIGITS_MIN <= len(pin) <= DIGITS_MAX and pin.isascii() and pin.isdigit()):
        raise UsageError(f"a PIN has {DIGITS_MIN} to {DIGITS_MAX} digits", code="bad_pin")
    if len(set(pin)) == 1 or pin in "0123456789" or pin in "9876543210":
        raise UsageError("this PIN is the first that anybody tries", code="bad_pin")
    return KeptPin(salt=salt.hex(), hash=_hash(pin, salt, ROUNDS), rounds=ROUNDS)


def fits(pin: str, kept: KeptPin) -> bool:
    """Return whether this is the PIN."""
    found = _hash(pin, bytes.fromhex(kept.salt), kept.rounds)
    return hmac.compare_digest(found, kept.hash)


def wait_s(wrong: int) -> int:
    """Seconds to wait after so many wrong PINs in a row, whoever's they were."""
    beyond = wrong - FREE_TRIES
    return 0 if beyond < 0 else min(FIRST_WAIT_S << min(beyond, 16), WAIT_S_MAX)


def _hash(pin: str, salt: bytes, rounds: int) -> str:
    return hashlib.pbkdf2_hmac("sha256", pin.encode(), salt, rounds).hex()
