"""Requests about the shop itself, as they are sent to the server: their shapes and their limits.

Knows: JSON. Must not know: what is done with them.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from holdfast.core.errors import ProtocolError

T = TypeVar("T")


class SetUpRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shop is opened. `code`: from the link that the server has printed."""

    shop: str
    currency: str
    store: str
    owner: str
    password: str
    language: str = "en"
    time_zone: str = ""
    code: str = ""


class AddRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person is added, at stores by their ids."""

    name: str
    role: str
    stores: list[str] = []


class ChangeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's role, stores, password, or whether they may come in; None leaves it."""

    login: str
    role: str | None = None
    stores: list[str] | None = None
    disabled: bool | None = None
    password: str | None = None


class InviteRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person gets a code for one more device."""

    login: str


class PinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One's own PIN is set; without a `pin` it is forgotten, one's own or that of `login`."""

    pin: str = ""
    login: str = ""


class RevokeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device is let in no more."""

    device: str


class StoreRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A store is added; with `id` it is renamed."""

    name: str
    id: str = ""


def decoded(body: bytes, kind: type[T]) -> T:
    """The request. Raises `ProtocolError` (`bad_message`)."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(str(error)[:300]) from None
