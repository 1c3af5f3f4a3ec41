"""The authority: it orders all commits.

``open_server`` puts a server together; its ``app`` is an ASGI app that mounts anywhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.extras import extra_missing

if TYPE_CHECKING:
    from holdfast.server.assembly import Server as Server
    from holdfast.server.assembly import open_server as open_server
    from holdfast.server.identity.device_auth import RegistryAuthenticator as RegistryAuthenticator
    from holdfast.server.identity.people import People as People
    from holdfast.server.identity.principal import Principal as Principal
    from holdfast.server.identity.token_file import TokenFile as TokenFile
    from holdfast.server.push.rules import Rule as Rule
    from holdfast.server.push.rules import RuleContext as RuleContext

_HOMES = {
    "People": "identity.people",
    "Principal": "identity.principal",
    "RegistryAuthenticator": "identity.device_auth",
    "Rule": "push.rules",
    "RuleContext": "push.rules",
    "Server": "assembly",
    "TokenFile": "identity.token_file",
    "open_server": "assembly",
}


def __getattr__(name: str) -> Any:
    """Names load on first use: a part of the server does not bring the whole of it. Raises
    ``ExtraMissing`` where its libraries are not installed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        raise extra_missing(error) or error from None
