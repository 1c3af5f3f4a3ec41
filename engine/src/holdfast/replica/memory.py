"""A transport without a network: a replica and a service in one process.

Knows: the codec, and what a service looks like. Must not know: HTTP, or who the service is.
Everything passes through the real encoding, so that what works here is what works on the wire.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, Self
from urllib.parse import parse_qs, urlsplit

from holdfast.core.errors import DatabaseError, FileGone, Offline, ProtocolError, SyncError
from holdfast.core.limits import FILE_PIECE_BYTES
from holdfast.protocol.codec import (
    RequestT,
    decode_request,
    encode_error,
    encode_line,
    encode_request,
)
from holdfast.protocol.messages import ExchangeRequest, Line, VerifyRequest
from holdfast.replica.failures import failure
from holdfast.replica.http.downloads import FileAnswer, checked_path
from holdfast.replica.http.live import LiveEvent
from holdfast.replica.http.spool import SpooledAnswer, receive


class ExchangeServer(Protocol):
    """A server as a replica asks it; ``principal`` is whatever it wants to know of who is
    asking.
    """

    def exchange(
        self, principal: Any, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]: ...

    def verify(self, principal: Any, request: VerifyRequest, *, echo: str) -> Iterator[Line]: ...

    def file(self, file_id: str, until: str, sign: str) -> Any: ...

    def piece(self, file: Any, number: int) -> bytes: ...

    def heads(self, principal: Any) -> dict[str, int]: ...

    def now_us(self) -> int: ...


class MemoryTransport:
    """Calls a service as one principal. ``connected``: set it to False to cut the line.

    Give ``moved`` to the service as what it calls after a commit, if live events are wanted.
    """

    def __init__(
        self,
        service: ExchangeServer,
        principal: Any,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.connected = True
        self._service = service
        self._principal = principal
        self._now_us = now_us
        self._streams: list[MemoryEventStream] = []

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        return self._call(self._service.exchange, request, echo, ExchangeRequest)

    def verify(self, request: VerifyRequest, echo: str) -> SpooledAnswer:
        return self._call(self._service.verify, request, echo, VerifyRequest)

    def _call(
        self,
        serve: Callable[..., Iterator[Line]],
        request: RequestT,
        echo: str,
        kind: type[RequestT],
    ) -> SpooledAnswer:
        self._check()
        sent_us = self._now_us()
        lines: Iterator[Line] = iter(())
        try:
            message = decode_request(encode_request(request), kind)
            lines = serve(self._principal, message, echo=echo)
            return receive(
                map(encode_line, lines), echo=echo, sent_us=sent_us, received_us=self._now_us()
            )
        except ProtocolError as error:
            raise self._failure(error, echo) from None
        finally:
            close = getattr(lines, "close", None)
            if close is not None:
                close()

    def _failure(self, error: ProtocolError, echo: str) -> SyncError:
        return failure(
            error.status,
            body=encode_error(error, echo=echo),
            content_type="application/json",
            echoed=True,
            echo=echo,
            now_us=self._now_us(),
        )

    @contextlib.contextmanager
    def file(
        self,
        path: str,
        *,
        start: int,
        sha256: str,  # noqa: ARG002 - no cache lies between
    ) -> Iterator[FileAnswer]:
        self._check()
        address = urlsplit(checked_path(path))
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        name = address.path.rpartition("/")[2]
        try:
            file = self._service.file(name, asked.get("until", ""), asked.get("sign", ""))
        except ProtocolError as error:
            raise FileGone(error.message) from None
        yield FileAnswer(start, self._pieces(file, start))

    def _pieces(self, file: Any, start: int) -> Iterator[bytes]:
        while start < file.bytes:
            self._check()
            number, skipped = divmod(start, FILE_PIECE_BYTES)
            try:
                piece = self._service.piece(file, number)[skipped:]
            except DatabaseError as error:
                raise FileGone(error.message) from None
            yield piece
            start += len(piece)

    def health(self, nonce: str) -> tuple[int, int, int]:  # noqa: ARG002 - nobody else can answer
        self._check()
        sent_us = self._now_us()
        return self._service.now_us(), sent_us, self._now_us()

    def events(self) -> MemoryEventStream:
        self._check()
        stream = MemoryEventStream()
        self._streams.append(stream)
        stream.put(LiveEvent("hello", self._service.heads(self._principal)))
        return stream

    def moved(self, scopes: Mapping[str, int]) -> None:
        """Tell all streams that scopes have new versions."""
        for stream in self._streams:
            stream.put(LiveEvent("moved", dict(scopes)))

    def fingerprint(self) -> str:
        return repr(self._principal)

    def interrupt(self) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.close()

    def close(self) -> None:
        self.connected = False
        self.interrupt()

    def _check(self) -> None:
        if not self.connected:
            raise Offline("the connection is cut", code="unreachable", unsent=True)


class MemoryEventStream:
    """Events as they were put in."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[LiveEvent | None] = queue.SimpleQueue()

    def put(self, event: LiveEvent | None) -> None:
        self._events.put(event)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LiveEvent:
        event = self._events.get()
        if event is None:
            self._events.put(None)  # it stays ended
            raise StopIteration
        return event

    def close(self) -> None:
        self._events.put(None)
