"""Rows of the registry's tables, read the same way by both stores.

Knows: columns of users, tokens and devices. Must not know: connections, or a database's dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.server.store.registry import DeviceReport, TokenRecord, User

_encode = msgspec.json.Encoder().encode
_names = msgspec.json.Decoder(tuple[str, ...]).decode

USER_COLUMNS = "u.name, u.read, u.write, u.roles, u.password, u.disabled, u.created"
BEARER = (
    f"SELECT t.hash, t.device, t.generation, t.ends, t.used, {USER_COLUMNS} "
    "FROM holdfast_token AS t "
    "JOIN holdfast_registration AS r ON r.device = t.device "
    'JOIN holdfast_user AS u ON u.name = r."user" '
    "WHERE t.hash = {digest} AND r.revoked = 0 AND u.disabled {stands}"
)


def names_text(names: tuple[str, ...]) -> str:
    """A list of names as it is stored."""
    return _encode(names).decode()


def user_of(row: Sequence[Any]) -> User:
    """A user from the columns of one."""
    name, read, write, roles, password, disabled, created = row
    return User(
        name, _names(read), _names(write), _names(roles), password, bool(disabled), created
    )  # fmt: skip


def bearer_of(row: Sequence[Any]) -> tuple[TokenRecord, User]:
    """A token and its user from the columns of ``BEARER``."""
    digest, device, generation, ends, used, *user = row
    return TokenRecord(digest, device, generation, ends, bool(used)), user_of(user)


def report_of(row: Sequence[Any]) -> DeviceReport:
    """A device as it is listed."""
    device, user, name, registered, *rest = row
    return DeviceReport(device, user, name, bool(registered), *rest)
