"""The principal: a user on a device, and the scopes they may read and write.

Knows: names and patterns. Must not know: how a request was authenticated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


class Grants:
    """Patterns, sorted out once: a scope is looked for among thousands of names at one blow."""

    __slots__ = ("exact", "prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self.exact = frozenset(p for p in patterns if not p.endswith("*"))
        self.prefixes = tuple({p[:-1]: None for p in patterns if p.endswith("*")})

    def have(self, scope: str) -> bool:
        """Return whether one of the patterns names a scope."""
        return scope in self.exact or scope.startswith(self.prefixes)


@dataclass(frozen=True, slots=True)
class Principal:
    """A user on a device. ``read`` and ``write`` are scope names, or prefixes ending with ``*``.

    ``device`` is empty for a person who has signed in and has enrolled no device yet. A
    ``registered`` device is known to the server's registry, which says at each transaction what it
    may do; ``until_us`` (0: for ever) is when what it has shown must be shown anew, ``token`` the
    hash of what it has shown.
    """

    user: str
    device: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    roles: tuple[str, ...] = field(default=())
    registered: bool = False
    until_us: int = field(default=0, compare=False)
    token: bytes = field(default=b"", compare=False, repr=False)
    readable_scopes: Grants = field(init=False, compare=False, repr=False)
    writable_scopes: Grants = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "writable_scopes", Grants(self.write))
        both = Grants((*self.read, *self.write)) if self.read else self.writable_scopes
        object.__setattr__(self, "readable_scopes", both)

    def may_read(self, scope: str) -> bool:
        return self.readable_scopes.have(scope)

    def may_write(self, scope: str) -> bool:
        return self.writable_scopes.have(scope)

    def readable(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """The given scopes that may be read, sorted."""
        return tuple(sorted(scope for scope in scopes if self.may_read(scope)))


def turn_of(principal: Principal) -> str:
    """Return whose turn it is when this principal works: those of different devices are fair."""
    return f"{principal.user}\n{principal.device}"
