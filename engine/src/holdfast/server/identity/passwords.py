"""Passwords: hashed with Argon2id, checked in bounded work, with nothing to tell a wrong name by.

Knows: Argon2 and its costs. Must not know: users, or a database.
Upholds I31: so many are checked at a time, each in so much memory; the rest is asked to come again.
"""

from __future__ import annotations

import functools
import threading

import argon2

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import (
    PASSWORD_CHECKS_MAX,
    PASSWORD_MEMORY_KIB,
    PASSWORD_WAIT_MS,
)
from holdfast.server.identity.password_rules import check

_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=PASSWORD_MEMORY_KIB, parallelism=1)
_turns = threading.BoundedSemaphore(PASSWORD_CHECKS_MAX)


def hashed(password: str, *, name: str = "") -> str:
    """Return what is stored of a password of ``name``. Raises ``UsageError`` (``bad_password``)."""
    check(password, name=name)
    return _HASHER.hash(password.encode("utf-8", "surrogatepass"))


def is_right(stored: str | None, password: str) -> bool:
    """Return whether it is the password; as long a piece of work when there is none to compare
    with.

    Raises ``ProtocolError`` 429 (``too_many_tries``) when too many are being checked.
    """
    if not _turns.acquire(timeout=PASSWORD_WAIT_MS / 1000):
        raise ProtocolError("too many sign-ins at once", code="too_many_tries", status=429)
    try:
        _HASHER.verify(stored or _nobodys(), password.encode("utf-8", "surrogatepass"))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    finally:
        _turns.release()
    return stored is not None


def prepare() -> None:
    """Done before the first check, so that it takes no longer than the later ones."""
    _nobodys()


@functools.cache
def _nobodys() -> str:
    """A hash that no password has been chosen for."""
    return _HASHER.hash(b"nobody's password")
