"""Rows of replicas, read and written the same way by both stores.

Knows: the columns of ``holdfast_replica``. Must not know: connections, or a database's dialect.
"""

from __future__ import annotations

from typing import Final

from holdfast.server.store.contract import Replica

_WRITTEN: Final = (
    "replica", "device", "user", "nonce", "high", "confirmed", "last_seen", "offset_us", "waiting",
    "oldest_us", "client", "generation", "place", "origin", "origin_last", "shared",
)  # fmt: skip
_COLUMNS: Final = ", ".join(f'r."{name}"' for name in (*_WRITTEN, "forgotten", "backed_up"))

SELECT_REPLICA: Final = (
    f"SELECT {_COLUMNS} FROM holdfast_replica AS r WHERE r.replica = {{replica}}"
)
"""All of a replica, in the order of ``Replica``."""
SELECT_ORIGINS: Final = (
    "WITH RECURSIVE line(step, replica) AS (SELECT 1, {origin} UNION ALL "
    "SELECT step + 1, o.origin FROM line JOIN holdfast_replica AS o ON o.replica = line.replica "
    "WHERE o.origin <> '' AND step < {limit} AND "
    '(o.device = {device} OR o."user" = {user})) '
    f"SELECT {_COLUMNS} FROM line JOIN holdfast_replica AS r ON r.replica = line.replica "
    'WHERE r.device = {device} OR r."user" = {user} ORDER BY line.step'
)
"""The replicas that one has come out of."""
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


def written(replica: Replica) -> tuple[str | int | None, ...]:
    """The values that ``PUT_REPLICA`` writes."""
    return tuple(getattr(replica, name) for name in _WRITTEN)
