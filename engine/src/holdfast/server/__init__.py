"""The authority: it orders all commits.

``open_server`` puts a server together; its ``app`` is an ASGI app that mounts anywhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.server.assembly import Server as Server
    from holdfast.server.assembly import open_server as open_server
    from holdfast.server.auth import TokenFile as TokenFile
    from holdfast.server.people import People as People
    from holdfast.server.principal import Principal as Principal
    from holdfast.server.registry_auth import RegistryAuth as RegistryAuth
    from holdfast.server.rules import Rule as Rule
    from holdfast.server.rules import RuleContext as RuleContext

_HOMES = {
    "People": "people",
    "Principal": "principal",
    "RegistryAuth": "registry_auth",
    "Rule": "rules",
    "RuleContext": "rules",
    "Server": "assembly",
    "TokenFile": "auth",
    "open_server": "assembly",
}


def __getattr__(name: str) -> Any:
    """Names load on first use: a part of the server does not bring the whole of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
