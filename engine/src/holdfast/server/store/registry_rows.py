"""Rows of the registry's tables, read the same way by both stores.

Knows: columns of users, tokens and devices. Must not know: connections, or a database's dialect.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.core.limits import REPLICAS_LISTED_MAX
from holdfast.server.store.registry import DeviceReport, ReplicaReport, TokenRecord, User

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

DEVICES = (
    'SELECT i.device, r."user", r.name, r.created, r.revoked FROM (SELECT device '
    "FROM holdfast_registration WHERE device > {after} AND ({user} = '' OR \"user\" = {user}) "
    "UNION SELECT d.device FROM holdfast_replica AS d WHERE d.device > {after} "
    "AND ({user} = '' OR d.\"user\" = {user}) AND NOT EXISTS (SELECT 1 "
    "FROM holdfast_registration AS g WHERE g.device = d.device) ORDER BY 1 LIMIT {limit}) AS i "
    "LEFT JOIN holdfast_registration AS r ON r.device = i.device ORDER BY 1"
)
"""Devices in order, registered or not."""
REPLICAS = (
    'SELECT device, "user", replica, origin, last_seen, waiting, oldest_us, client, offset_us '
    "FROM (SELECT d.*, row_number() OVER (PARTITION BY d.device "
    "ORDER BY d.last_seen DESC, d.place DESC) AS n FROM holdfast_replica AS d "
    f"WHERE d.device {{among}}) AS l WHERE n <= {REPLICAS_LISTED_MAX} ORDER BY device, n"
)
"""The replicas of some devices, of each device those that were heard last first."""


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


def reports_of(
    devices: Sequence[Sequence[Any]], replicas: Sequence[Sequence[Any]]
) -> list[DeviceReport]:
    """Devices as they are listed, from the rows of ``DEVICES`` and ``REPLICAS``."""
    told: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for row in replicas:
        told[row[0]].append(row[1:])
    reports = []
    for device, user, name, created, revoked in devices:
        of = told[device]
        owner, _, _, last_seen, waiting, oldest_us, client, offset_us = (
            of[0] if of else (user, "", "", 0, 0, None, "", 0)
        )
        reports.append(
            DeviceReport(
                device, owner if user is None else user, name or "", user is not None,
                created or 0, revoked or 0, last_seen, waiting, oldest_us, client, offset_us,
                tuple(ReplicaReport(*one[1:5]) for one in of),
            )
        )  # fmt: skip
    return reports
