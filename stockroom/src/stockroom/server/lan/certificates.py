"""The certificate that a shop's server shows, kept fit: renewed before it ends, and when the
machine's names or addresses change.

Knows: the authority, and what the machine is called now. Must not know: sockets, or HTTP.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import Final

from holdfast.server.tls.certificates import loaded
from stockroom.server.lan.addresses import Machine
from stockroom.server.lan.authority import Authority

log: Final = logging.getLogger("holdfast.server.tls")


class ShopCertificates:
    """The certificate that a shop's authority gives its server. ``machine``: asked each time."""

    def __init__(self, authority: Authority, machine: Callable[[], Machine]) -> None:
        self._authority = authority
        self._machine = machine
        authority.renew(machine().all)
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        return self._context

    def look(self) -> None:
        if self._authority.renew(self._machine().all):
            self._context = self._load()
            log.info("certificate_renewed", extra={"file": str(self._authority.server_file)})

    def _load(self) -> ssl.SSLContext:
        file = self._authority.server_file
        return loaded(file, file)
