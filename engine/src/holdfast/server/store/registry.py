"""The contract of the registry: people, their devices, and what lets them in.

Knows: users, registrations, tokens, enrolment codes, the generation of rights. Must not know: SQL,
HTTP, how a token or password is made, or who may change what.
A ``Snapshot`` offers it to read, a ``Writer`` to write too. What a writer reads of a user or a
device stays so until its commit: a store with several writers locks it, so that a revocation either
waits for a push, or the push sees it.

Upholds I26; secrets are never stored, only their hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

RIGHTS = ""
"""Stands for the generation of rights where scopes and their versions are told; no scope has this
name."""


@dataclass(frozen=True, slots=True)
class User:
    """A person or a service. ``read`` and ``write``: scopes, or prefixes ending with ``*``.

    ``password``: the hash of one, None when there is none.
    """

    name: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)
    disabled: bool = False
    created: int = 0


@dataclass(frozen=True, slots=True)
class Registration:
    """A device of a user. ``revoked``: since when, 0 while it stands."""

    device: str
    user: str
    name: str = ""
    created: int = 0
    revoked: int = 0


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A device's token, by its hash. ``ends``: when it is not taken any more."""

    hash: bytes = field(repr=False)
    device: str
    generation: int
    ends: int
    used: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """An enrolment code, by its hash, for a user.

    ``device``: the one it is for ("": a new one), or has enrolled; ``attempt``: the hash of the
    attempt that has used it, empty before.
    """

    hash: bytes = field(repr=False)
    user: str
    expires: int
    device: str = ""
    attempt: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """A replica of a device: its identity, which one it has come out of ("": none), when it was
    heard, and what waited on it then."""

    replica: str
    origin: str
    last_seen: int
    waiting: int


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """A device as an operator sees it. Times are microseconds since 1970, 0 or None for never.

    ``waiting``, ``oldest_us``: transactions that waited on it after its last exchange, and when the
    oldest of them was made. ``registered``: False for one that is known by a token file only. What
    it told last is what its replica told that was heard last; ``replicas``: all, that one first.
    """

    device: str
    user: str
    name: str
    registered: bool
    created: int
    revoked: int
    last_seen: int
    waiting: int
    oldest_us: int | None
    client: str
    offset_us: int
    replicas: tuple[ReplicaReport, ...] = ()


class RegistryReads(Protocol):
    """The registry as of one moment."""

    def generation(self) -> int:
        """Grows with each change of what a user or device may do."""

    def user(self, name: str) -> User | None: ...

    def users(self, *, after: str, limit: int) -> list[User]:
        """Users in order of their names, those after ``after``."""

    def registration(self, device: str) -> Registration | None: ...

    def standing(self, devices: Sequence[str]) -> dict[str, User]:
        """The users of these devices, without those that are revoked, disabled or unknown."""

    def token(self, digest: bytes) -> TokenRecord | None: ...

    def bearer(self, digest: bytes) -> tuple[TokenRecord, User] | None:
        """A token, and the user of its device, if device and user stand; in one look."""

    def tokens(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of these tokens that are not forgotten."""

    def devices(self, *, user: str, after: str, limit: int) -> list[DeviceReport]:
        """Devices in order of their ids, those after ``after``; of one user, or of all ("")."""


class RegistryWrites(RegistryReads, Protocol):
    """The registry inside a write transaction."""

    def put_user(self, user: User) -> None: ...

    def put_registration(self, registration: Registration) -> None: ...

    def put_token(self, token: TokenRecord) -> None: ...

    def newest_token(self, device: str) -> TokenRecord | None:
        """The token of the highest generation."""

    def drop_tokens(self, device: str, *, below: int | None = None) -> None:
        """Forget a device's tokens: all, or those of generations lower than ``below``."""

    def drop_token(self, digest: bytes) -> None: ...

    def code(self, digest: bytes) -> Code | None: ...

    def put_code(self, code: Code) -> None: ...

    def drop_codes(self, *, expired: int) -> None:
        """Forget the codes that expired before a moment."""

    def drop_codes_for(self, device: str) -> None:
        """Forget the codes that wait for a device; those that were used stay."""

    def count_codes(self, user: str) -> int:
        """Return how many codes of a user wait to be used."""

    def count_devices(self, user: str) -> int:
        """Return how many devices of a user stand: registered, and not revoked."""

    def move_generation(self) -> int:
        """The next generation of rights. Called last, for it is held until the commit."""
