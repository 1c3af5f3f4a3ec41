"""The first run: until a shop is set up, whoever has the server's link may open it, once.

Knows: the code of this start of the server, who is on this very machine, and that tries are
counted. Must not know: what a shop consists of, or HTTP beyond a request's head.
"""

from __future__ import annotations

import ipaddress
import secrets
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from holdfast.core.enrolment_codes import new_code, normal_code, secret_hash
from holdfast.core.errors import BadValue, ProtocolError
from holdfast.core.limits import ENROL_TRIES_BURST, ENROL_TRY_EVERY_MS
from holdfast.server.identity.rate_limit import Rates, address_key
from stockroom.shop.desk import Desk
from stockroom.shop.opening import Opened, Opening, has_owner, open_shop

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class FirstRun:
    """Opens a shop once. Methods may be called from any thread."""

    def __init__(self, desk: Desk, *, demo: bool = False) -> None:
        """`demo`: there is nothing to set up."""
        self._desk = desk
        self.code = new_code(secrets.token_bytes)
        self._wanted = secret_hash("code", normal_code(self.code))
        self._rates = Rates(burst=ENROL_TRIES_BURST, every_ms=ENROL_TRY_EVERY_MS)
        self._lock = threading.Lock()
        self._done = demo or has_owner(desk.people)

    @property
    def done(self) -> bool:
        """Return whether the shop is open; once it is, it stays so."""
        if not self._done:
            self._done = has_owner(self._desk.people)
        return self._done

    def open(self, wanted: Opening, *, code: str, address: str, local: bool) -> Opened:
        """Open the shop. Raises `ProtocolError`: 403 `wrong_code`, 409 `set_up_already`, 429;
        `UsageError` for what cannot be."""
        if not local:
            self._rates.take(address_key(address))
            if not self._is_right(code):
                raise ProtocolError(
                    "this code does not open the shop; the server prints the right link at each "
                    "start",
                    code="wrong_code",
                    status=403,
                )
            self._rates.give_back(address_key(address))
        with self._lock:
            if self.done:
                raise set_up_already()
            return open_shop(self._desk, wanted)

    def _is_right(self, code: str) -> bool:
        try:
            given = secret_hash("code", normal_code(code))
        except BadValue:
            return False
        return secrets.compare_digest(given, self._wanted)


def set_up_already() -> ProtocolError:
    return ProtocolError(
        "this shop is set up already: sign in, or ask its owner for an invitation",
        code="set_up_already",
        status=409,
    )


def is_local(address: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from this machine, to this machine, with nobody between."""
    if any(name in headers for name in _FORWARDED):
        return False
    try:
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        return _is_loopback(address) and (host == "localhost" or _is_loopback(host))
    except ValueError:
        return False


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
