"""Tools to test an app built on Holdfast: a network that can be cut, servers that can be killed.

Names load on first use, so that `python -m holdfast.testing.proxy_command` runs a module nobody
imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from holdfast.extras import extra_missing

if TYPE_CHECKING:
    from holdfast.testing.conformance.driver import DriverConformance as DriverConformance
    from holdfast.testing.conformance.store import StoreConformance as StoreConformance
    from holdfast.testing.postgres import PostgresCluster as PostgresCluster
    from holdfast.testing.postgres import PostgresMissing as PostgresMissing
    from holdfast.testing.processes import ServerProcess as ServerProcess
    from holdfast.testing.processes import ServerStartError as ServerStartError
    from holdfast.testing.processes import free_port as free_port
    from holdfast.testing.processes import wait_until as wait_until
    from holdfast.testing.proxy import FAULT_KINDS as FAULT_KINDS
    from holdfast.testing.proxy import FaultKind as FaultKind
    from holdfast.testing.proxy import FaultProxy as FaultProxy

_HOMES = {
    "DriverConformance": "conformance.driver",
    "FAULT_KINDS": "proxy",
    "FaultKind": "proxy",
    "FaultProxy": "proxy",
    "PostgresCluster": "postgres",
    "PostgresMissing": "postgres",
    "ServerProcess": "processes",
    "ServerStartError": "processes",
    "StoreConformance": "conformance.store",
    "free_port": "processes",
    "wait_until": "processes",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        raise extra_missing(error) or error from None


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
