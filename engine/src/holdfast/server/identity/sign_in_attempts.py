"""Tries to sign in: how many a stranger has, and why none of them locks anybody else out.

Knows: addresses, names, devices, and that failures count. Must not know: passwords, or a database.
Tries are counted before they are looked at and given back when they were right, so only failures
add up: those of a name from one address, those of an address, and, with a far wider limit, those of
a name from everywhere. The last is for guessing by many hands. It never stops those who have signed
in before: not from an address where the name was let in, nor on a device that is the name's own.

Upholds I31.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import (
    ENROL_ANYWHERE_TRIES_BURST,
    ENROL_ANYWHERE_TRY_EVERY_MS,
    ENROL_KNOCK_EVERY_MS,
    ENROL_KNOCKS_BURST,
    ENROL_KNOWN_ADDRESSES_MAX,
    ENROL_NAME_TRIES_BURST,
    ENROL_NAME_TRY_EVERY_MS,
    ENROL_TRIES_BURST,
    ENROL_TRY_EVERY_MS,
)
from holdfast.server.identity.rate_limit import Rates, address_key, monotonic_ms


class Attempts:
    """Counts tries. Methods may be called from any thread."""

    def __init__(self, *, monotonic_ms: Callable[[], int] = monotonic_ms) -> None:
        rates = partial(Rates, monotonic_ms=monotonic_ms)
        self._knocks = rates(burst=ENROL_KNOCKS_BURST, every_ms=ENROL_KNOCK_EVERY_MS)
        self._by_address = rates(burst=ENROL_TRIES_BURST, every_ms=ENROL_TRY_EVERY_MS)
        self._by_name = rates(burst=ENROL_NAME_TRIES_BURST, every_ms=ENROL_NAME_TRY_EVERY_MS)
        self._anywhere = rates(
            burst=ENROL_ANYWHERE_TRIES_BURST, every_ms=ENROL_ANYWHERE_TRY_EVERY_MS
        )
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def knock(self, address: str) -> None:
        """Before anything is read. Raises ``ProtocolError`` 429 (``too_many_tries``)."""
        self._knocks.take(address_key(address))

    @contextlib.contextmanager
    def of_code(self, digest: bytes, address: str) -> Iterator[None]:
        """A try with a code; a failure is what raises. Raises ``ProtocolError`` 429."""
        with self._counted((self._by_address, address_key(address)), (self._by_name, digest)):
            yield

    @contextlib.contextmanager
    def of_name(self, name: str, address: str, *, device: str = "") -> Iterator[None]:
        """A try to be somebody. ``device``: one that is this name's own already; who asks on it is
        no stranger, and has tries of its own. Raises ``ProtocolError`` 429."""
        source = address_key(address)
        if device:
            with self._counted((self._by_name, f"{name} on {device}")):
                yield
            return
        buckets: list[tuple[Rates, str | bytes]] = [
            (self._by_address, source),
            (self._by_name, f"{name} from {source}"),
        ]
        if not self._is_known(name, source):
            buckets.append((self._anywhere, name))
        with self._counted(*buckets):
            yield
        with self._lock:
            self._known[name, source] = None
            self._known.move_to_end((name, source))
            if len(self._known) > ENROL_KNOWN_ADDRESSES_MAX:
                self._known.popitem(last=False)

    def _is_known(self, name: str, source: str) -> bool:
        with self._lock:
            return (name, source) in self._known

    @contextlib.contextmanager
    def _counted(self, *buckets: tuple[Rates, str | bytes]) -> Iterator[None]:
        taken: list[tuple[Rates, str | bytes]] = []
        try:
            for rates, key in buckets:
                rates.take(key)
                taken.append((rates, key))
            yield
        except ProtocolError as error:
            if error.status == 429:
                _give_back(taken)  # turned away: it was never looked at
            raise
        _give_back(taken)


def _give_back(taken: list[tuple[Rates, str | bytes]]) -> None:
    for rates, key in taken:
        rates.give_back(key)
