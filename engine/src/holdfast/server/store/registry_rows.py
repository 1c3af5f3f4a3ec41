"""Rows of people, devices and replicas, read and written the same way by both stores.

Knows: columns of users, tokens, devices and replicas. Must not know: connections, or a dialect.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from holdfast.core.limits import REPLICAS_LISTED_MAX
from holdfast.server.store.contract import Recorded, ReplicaRecord
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

_WRITTEN: Final = (
    "replica", "device", "user", "nonce", "high", "confirmed", "last_seen", "offset_us", "waiting",
    "oldest_us", "client", "generation", "place", "origin", "origin_last", "shared",
    "origin_epoch",
)  # fmt: skip
_COLUMNS: Final = ", ".join(
    f'r."{name}"' for name in (*_WRITTEN, "forgotten", "backed_up", "copied")
)

SELECT_REPLICA: Final = (
    f"SELECT {_COLUMNS} FROM holdfast_replica AS r WHERE r.replica = {{replica}}"
)
"""All of a replica, in the order of ``ReplicaRecord``."""
SELECT_ORIGINS: Final = (
    "WITH RECURSIVE line(step, replica) AS (SELECT 1, {origin} UNION ALL "
    "SELECT step + 1, o.origin FROM line JOIN holdfast_replica AS o ON o.replica = line.replica "
    "WHERE o.origin <> '' AND step < {limit} AND "
    '(o.device = {device} OR o."user" = {user})) '
    f"SELECT {_COLUMNS} FROM line JOIN holdfast_replica AS r ON r.replica = line.replica "
    'WHERE r.device = {device} OR r."user" = {user} ORDER BY line.step'
)
"""The replicas that one has come out of."""
SELECT_SENT: Final = (
    f"SELECT {_COLUMNS}, a.number, a.id, a.body, a.outcome, a.settled, a.answer "
    "FROM holdfast_applied AS a JOIN holdfast_replica AS r ON r.replica = a.replica "
    "WHERE a.copied {yes} AND a.id {ids} AND r.device {among} ORDER BY a.id, r.place, a.number"
)
"""What replicas of some devices have sent of what is offered."""
POSTGRES_SENT: Final = SELECT_SENT.format(
    yes="", ids="= ANY ($2::bytea[])", among="= ANY ($1::text[])"
)
MARK_REPLICAS: Final = (
    "UPDATE holdfast_replica SET copied = {yes} WHERE NOT copied AND device {among}"
)
MARK_SENT: Final = (
    "UPDATE holdfast_applied SET copied = {yes} WHERE NOT copied AND number >= {first} AND replica "
    "IN (SELECT r.replica FROM holdfast_replica AS r WHERE r.device {among})"
)
"""Of what replicas of some devices have sent, what may be offered by another one."""
SELECT_OWNER: Final = (
    'SELECT r."user" FROM holdfast_replica AS r WHERE r.device = {device} '
    "ORDER BY r.last_seen DESC, r.place DESC LIMIT 1"
)
PUT_REPLICA: Final = (
    "INSERT INTO holdfast_replica ("
    + ", ".join(f'"{name}"' for name in _WRITTEN)
    + ") VALUES ({values}) ON CONFLICT (replica) DO UPDATE SET "
    + ", ".join(f'"{name}" = excluded."{name}"' for name in _WRITTEN[1:])
)


def sent_row(row: Sequence[Any]) -> tuple[ReplicaRecord, Recorded]:
    """A replica, and a transaction of it, as ``SELECT_SENT`` reads them."""
    *replica, number, identity, body, outcome, settled, answer = row
    recorded = Recorded(number, identity, body, outcome, bool(settled), answer)
    return replica_of(replica), recorded


def replica_of(row: Sequence[Any]) -> ReplicaRecord:
    """A replica from its columns."""
    return replace(ReplicaRecord(*row), copied=bool(row[-1]))


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


def written(replica: ReplicaRecord) -> tuple[str | int | None, ...]:
    """The values that ``PUT_REPLICA`` writes."""
    return tuple(getattr(replica, name) for name in _WRITTEN)
