"""Credentials of a device, kept beside its replica and never in it.

Knows: one small file and its lock. Must not know: HTTP, or when a token is due for another.
A copy of the replica's file alone lets nobody in. The file is readable by its owner only, replaced
whole, and on disk before anybody can read it: a token is durable before its first use. What is
printed of it has no secret in it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from holdfast.core.errors import ReplicaError
from holdfast.core.limits import CREDENTIALS_BYTES_MAX
from holdfast.sqlite.locks import LOCK_EX, LOCK_NB, flock, sync_folder

SUFFIX = "-credentials"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A device's token, and whom it is for. Times are the server's, microseconds since 1970.

    ``attempt``: of an enrolment that is not finished; ``shown``: by what it was let in, hashed.
    """

    server: str
    device: str = ""
    user: str = ""
    token: str = ""
    expires_at: int = 0
    refresh_at: int = 0
    attempt: str = ""
    shown: str = ""

    def __repr__(self) -> str:
        return f"Credentials(device={self.device!r}, user={self.user!r})"


class CredentialsFile:
    """``<replica>-credentials``."""

    def __init__(self, replica: str | Path) -> None:
        self.replica = str(replica)
        self._path = Path(f"{replica}{SUFFIX}")

    @property
    def path(self) -> Path:
        return self._path

    def read(self) -> Credentials | None:
        """Return what is in it; None when it is not there or cannot be read as what it should
        be.
        """
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(CREDENTIALS_BYTES_MAX), type=Credentials)
        except (OSError, msgspec.MsgspecError, UnicodeError):
            return None

    def write(self, credentials: Credentials) -> None:
        """Replace it, durably. Raises ``ReplicaError`` (``no_credentials``)."""
        new = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            try:
                descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.json.encode(credentials))
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
            sync_folder(self._path.parent)
        except OSError as error:
            raise ReplicaError(
                f"the credentials cannot be written: {error.strerror or error}",
                code="no_credentials",
            ) from None

    @contextlib.contextmanager
    def alone(self, *, wait: bool) -> Iterator[bool]:
        """Nobody else changes it meanwhile; False at once when somebody does and ``wait`` is not
        set."""
        descriptor = os.open(f"{self._path}-lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                flock(descriptor, LOCK_EX | (0 if wait else LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)
