"""Live events inside one process: who wants to know that a scope has moved, and what they missed.

Knows: scopes, versions, principals. Must not know: HTTP, or the database.
A slow subscriber costs one dictionary of its scopes, however much happens (I31); what a principal
may not read is never put into its subscription (I23). A commit costs what those cost who may read
its scopes, however many others listen.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import (
    EVENT_STREAMS_PER_DEVICE_MAX,
    STREAMS_REVIEWED_AT_ONCE,
)
from holdfast.server.identity.principal import Grants, Principal
from holdfast.server.store.registry import RIGHTS


class Subscription:
    """One stream's view of the news: an async iterator of ``{scope: version}``.

    What happens between two looks is merged; only the newest version of a scope is told. Belongs to
    the event loop it was made on. Ends when it or its hub is closed.
    """

    def __init__(self, hub: Hub, principal: Principal) -> None:
        self.principal = principal
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lock = threading.Lock()
        self._news: dict[str, int] = {}
        self._follows = False
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    async def next(self, timeout_ms: float | None = None) -> dict[str, int] | None:
        """The news since the last call, as soon as there are any (none of them, when only rights
        have changed); ``None`` at the time-out, and at once and for ever when closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000):
                await self._wake.wait()
        if self._closed:
            return None
        self._wake.clear()
        with self._lock:
            news, self._news = self._news, {}
            follows, self._follows = self._follows, False
        return news if news or follows else None

    def offer(self, moved: Mapping[str, int]) -> None:
        """Take in news, from any thread."""
        with self._lock:
            readable = {scope: at for scope, at in moved.items() if self.principal.may_read(scope)}
            if not readable:
                return
            first = not self._news
            for scope, version in readable.items():
                self._news[scope] = max(version, self._news.get(scope, 0))
        if first:
            self._call(self._wake.set)

    def follow(self, principal: Principal) -> None:
        """Take in what the principal may do now, from any thread; wakes the stream when that is
        something else."""
        with self._lock:
            if principal == self.principal:
                return
            self.principal = principal
            self._news = {s: at for s, at in self._news.items() if principal.may_read(s)}
            self._follows = True
        self._hub.moved(self)
        self._call(self._wake.set)

    def close(self) -> None:
        """End it, from any thread; more than once is fine."""
        if not self._closed:
            self._closed = True
            self._hub.forget(self)
            self._call(self._wake.set)

    def _call(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # its event loop has ended, and it with it
            self._loop.call_soon_threadsafe(function)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, int]:
        while not self._closed:
            news = await self.next()
            if news is not None:
                return news
        raise StopAsyncIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Hub:
    """All subscriptions of a process."""

    def __init__(self, *, streams_per_device_max: int = EVENT_STREAMS_PER_DEVICE_MAX) -> None:
        self._streams_per_device_max = streams_per_device_max
        self._lock = threading.Lock()
        self._subscriptions: dict[Subscription, Grants] = {}
        """All of them, with the rights by which they are in the two that follow."""
        self._by_scope: dict[str, set[Subscription]] = {}
        """Of those whose rights name scopes: who may read each."""
        self._by_prefix: dict[str, set[Subscription]] = {}
        """The same for prefixes of scopes."""
        self._per_device: Counter[tuple[str, str]] = Counter()
        self._closed = False
        self.on_rights: Callable[[], None] | None = None
        """Called, from any thread, when the generation of rights has moved."""

    def subscribe(self, principal: Principal) -> Subscription:
        """Open a stream; call it on the event loop that will read it, and close it in the end.

        Raises ``ProtocolError``: 429 ``too_many_streams``, or 503 ``stopping`` at shutdown.
        """
        subscription = Subscription(self, principal)
        owner = (principal.user, principal.device)
        with self._lock:
            if self._closed:
                raise ProtocolError("the server is stopping", code="stopping", status=503)
            if self._per_device[owner] >= self._streams_per_device_max:
                raise ProtocolError(
                    f"a device may have {self._streams_per_device_max} event streams",
                    code="too_many_streams",
                    status=429,
                )
            self._per_device[owner] += 1
            self._enter(subscription)
        return subscription

    def _enter(self, subscription: Subscription) -> None:
        grants = self._subscriptions[subscription] = subscription.principal.readable_scopes
        for index, names in self._places(grants):
            for name in names:
                index.setdefault(name, set()).add(subscription)

    def _leave(self, subscription: Subscription) -> None:
        for index, names in self._places(self._subscriptions.pop(subscription)):
            for name in names:
                index[name].discard(subscription)
                if not index[name]:
                    del index[name]

    def _places(
        self, grants: Grants
    ) -> tuple[tuple[dict[str, set[Subscription]], Iterable[str]], ...]:
        return (self._by_scope, grants.exact), (self._by_prefix, grants.prefixes)

    def moved(self, subscription: Subscription) -> None:
        """Called by a subscription whose principal may do something else now."""
        with self._lock:
            if subscription in self._subscriptions:
                self._leave(subscription)
                self._enter(subscription)

    def publish(self, moved: Mapping[str, int]) -> None:
        """Tell that scopes have new versions. From any thread; never waits for a subscriber."""
        if RIGHTS in moved:
            moved = {scope: at for scope, at in moved.items() if scope != RIGHTS}
            if self.on_rights is not None:
                self.on_rights()
        if not moved:
            return
        with self._lock:
            subscriptions = self._readers(moved)
        for subscription in subscriptions:
            subscription.offer(moved)

    def _readers(self, moved: Iterable[str]) -> set[Subscription]:
        """Return who may read one of these scopes: nobody else is asked."""
        found: set[Subscription] = set()
        for scope in moved:
            found |= self._by_scope.get(scope, set())
            if self._by_prefix:
                for end in range(len(scope) + 1):
                    found |= self._by_prefix.get(scope[:end], set())
        return found

    def review(self, judge: Callable[[Sequence[Principal]], Sequence[Principal | None]]) -> None:
        """Have the registered principals of all open streams judged, and end or change theirs."""
        with self._lock:
            subscriptions = [s for s in self._subscriptions if s.principal.registered]
        for start in range(0, len(subscriptions), STREAMS_REVIEWED_AT_ONCE):
            piece = subscriptions[start : start + STREAMS_REVIEWED_AT_ONCE]
            for subscription, now in zip(piece, judge([s.principal for s in piece]), strict=True):
                if now is None:
                    subscription.close()
                else:
                    subscription.follow(now)

    def forget(self, subscription: Subscription) -> None:
        """Called by a subscription that closes."""
        owner = (subscription.principal.user, subscription.principal.device)
        with self._lock:
            if subscription in self._subscriptions:
                self._leave(subscription)
                self._per_device[owner] -= 1
                if not self._per_device[owner]:
                    del self._per_device[owner]

    def close(self) -> None:
        """End all streams and take no new ones; from any thread."""
        with self._lock:
            self._closed = True
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def __len__(self) -> int:
        return len(self._subscriptions)
