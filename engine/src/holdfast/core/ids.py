"""Identifiers: UUIDv7 for rows, 128-bit random ids for transactions.

Knows how an identifier is put together from a moment and random bytes. Must not know a clock or a
source of randomness: both are handed in, so that one seed gives one trace (I37). Upholds I4 and I7
as far as they rest on ids: two transactions never have one id, for it is made from random bits and
nothing that a wrong clock tells; and one transaction never gets two, wherever a copied file is
sealed, for those bits were drawn with its last change.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Final

RandomBytes = Callable[[int], bytes]
"""Returns exactly the asked number of random bytes, like `os.urandom`."""

TRANSACTION_ID_BYTES: Final = 16
UUID7_US_MAX: Final = (1 << 48) * 1000 - 1
"""The last moment a UUIDv7 can name, in microseconds since 1970 (the year 10889)."""

_VERSION: Final = 0x7
_VARIANT: Final = 0b10


def uuid7(now_us: int, random_bytes: RandomBytes) -> str:
    """A UUIDv7 (RFC 9562) in canonical form: 36 characters, lower case.

    `now_us` is in microseconds since 1970, UTC. The 12 bits after the millisecond hold its
    fraction (RFC 9562, method 3), so ids of different microseconds sort by time; 62 bits are
    random.

    A device whose clock is far wrong must still be able to make keys: moments that the format
    cannot hold are moved to its nearest end. Raises `ValueError` if `random_bytes` returns another
    number of bytes than asked.
    """
    moment_us = min(max(now_us, 0), UUID7_US_MAX)
    milliseconds, microseconds = divmod(moment_us, 1000)
    fraction = (microseconds << 12) // 1000
    noise = int.from_bytes(_exactly(8, random_bytes)) & ((1 << 62) - 1)
    value = (milliseconds << 80) | (_VERSION << 76) | (fraction << 64) | (_VARIANT << 62) | noise
    return str(uuid.UUID(int=value))


def transaction_id(random_bytes: RandomBytes) -> str:
    """A new transaction id: 32 lower-case hexadecimal characters, all 128 bits random.

    Raises `ValueError` if `random_bytes` returns another number of bytes than asked.
    """
    return _exactly(TRANSACTION_ID_BYTES, random_bytes).hex()


def derived_id(*parts: str | int) -> str:
    """A transaction's id that follows from what it is: 32 lower-case hexadecimal characters.

    It is the hash (BLAKE2s) of its parts as text, each behind its length in characters.
    """
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return hashlib.blake2s(text.encode(), digest_size=TRANSACTION_ID_BYTES).hexdigest()


def _exactly(count: int, random_bytes: RandomBytes) -> bytes:
    # A source that runs short would make ids that meet; fail where it happens.
    drawn = random_bytes(count)
    if len(drawn) != count:
        raise ValueError(f"asked for {count} random bytes, got {len(drawn)}")
    return drawn
