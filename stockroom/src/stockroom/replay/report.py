"""The result of a replay, as told to machines and to people.

Knows: the fields of the report. Must not know: how they were found.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """Final state of one device: its file, its scopes, and what still waits for the server."""

    db: str
    scopes: tuple[str, ...]
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a replay. Units are those of movements: a sale of 3 is -3.

    `transactions` are invoices; `lost` and `doubled` count invoices that the server has not whole,
    or more than once. `server_kills` is of all servers together. `ok` is true only
    if every check held.
    """

    database: str
    servers: int
    lines: int
    transactions: int
    faults: dict[str, int]
    server_kills: int
    device_kills: int
    expected_units: int
    server_units: int
    replicas_equal: bool
    lost: int
    doubled: int
    conflicts: int
    refused: int
    devices: tuple[DeviceReport, ...]
    ok: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)
