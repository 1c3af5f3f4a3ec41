"""Holdfast: offline-first synchronization of plain SQL tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.core.errors import (
    AttentionNeeded,
    BadValue,
    ConstraintFailed,
    DatabaseError,
    HoldfastError,
    Offline,
    Refuse,
    ReplicaError,
    SchemaError,
    ServerTrouble,
    SignInNeeded,
    SyncError,
    UpgradeNeeded,
    UsageError,
)
from holdfast.protocol.version import RELEASE
from holdfast.schema import Check, Column, ForeignKey, Schema, Table

if TYPE_CHECKING:
    from holdfast.replica.replica import ChangeEvent, Replica, SyncReport, Transaction

__version__ = RELEASE

_FROM_REPLICA = ("ChangeEvent", "Replica", "SyncReport", "Transaction")


def __getattr__(name: str) -> Any:
    """The replica brings the HTTP client; who only needs a schema or the server does not pay for
    it."""
    if name in _FROM_REPLICA:
        from holdfast.replica import replica

        return getattr(replica, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AttentionNeeded",
    "BadValue",
    "ChangeEvent",
    "Check",
    "Column",
    "ConstraintFailed",
    "DatabaseError",
    "ForeignKey",
    "HoldfastError",
    "Offline",
    "Refuse",
    "Replica",
    "ReplicaError",
    "Schema",
    "SchemaError",
    "ServerTrouble",
    "SignInNeeded",
    "SyncError",
    "SyncReport",
    "Table",
    "Transaction",
    "UpgradeNeeded",
    "UsageError",
]
