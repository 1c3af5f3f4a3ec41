"""The messages with which people let devices in.

Knows: field names, types and what may be left out. Must not know: HTTP, SQL, or what a message
does. What shows a secret does not show it when it is printed.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from holdfast.core.limits import CODE_MINUTES, CODE_MINUTES_MAX, PASSWORD_LENGTH_MAX
from holdfast.protocol.messages import Name, Token


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message: unknown fields are refused."""


class EnrolRequest(_Message, frozen=True, kw_only=True):
    """``POST /v1/enrol``: with a code, or a user and password, or (neither) as who has signed in.

    ``device``: what the replica is already, "" for a new one; ``name``: for people; ``attempt``:
    random, the same when the answer was lost and it is tried again.
    """

    protocol: int
    code: Annotated[str, Meta(max_length=64)] = ""
    user: Name = ""
    password: Annotated[str, Meta(max_length=PASSWORD_LENGTH_MAX)] = ""
    device: Name = ""
    name: Name = ""
    attempt: Token = ""

    def __repr__(self) -> str:
        return f"EnrolRequest(device={self.device!r})"


class RefreshRequest(_Message, frozen=True, kw_only=True):
    """``POST /v1/token``, with the token that is to be followed by a new one."""

    protocol: int


class PasswordRequest(_Message, frozen=True, kw_only=True):
    """``POST /v1/password``, by a person: the ``password`` until now, and the ``new`` one."""

    protocol: int
    password: Annotated[str, Meta(max_length=PASSWORD_LENGTH_MAX)]
    new: Annotated[str, Meta(max_length=PASSWORD_LENGTH_MAX)]

    def __repr__(self) -> str:
        return "PasswordRequest()"


class SignOutRequest(_Message, frozen=True, kw_only=True):
    """``POST /v1/sign-out``: the device's tokens are forgotten; its work is the device's affair."""

    protocol: int


class Enrolled(_Message, frozen=True, kw_only=True):
    """A device and its token. Times are the server's, microseconds since 1970.

    ``refresh_at``: from when on the device should ask for a new token.
    """

    device: str
    user: str
    token: str
    expires_at: int
    refresh_at: int
    time: int

    def __repr__(self) -> str:
        return f"Enrolled(device={self.device!r}, user={self.user!r})"


class InviteRequest(_Message, frozen=True, kw_only=True):
    """``POST /v1/enrolments``, by an admin: a code for a user, perhaps only for one device."""

    protocol: int
    user: Name
    device: Name = ""
    minutes: Annotated[int, Meta(ge=1, le=CODE_MINUTES_MAX)] = CODE_MINUTES


class RevokeRequest(_Message, frozen=True, kw_only=True):
    """``POST /v1/devices/{device}/revoke``, by an admin."""

    protocol: int
