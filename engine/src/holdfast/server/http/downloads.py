"""Files over HTTP: whole, from where a download was cut, or not at all.

Knows: ranges, validators, caches. Must not know: what is in a file, or where it is kept.
A file never changes, so its SHA-256 is its entity tag. Whoever has its path may have it; whatever
is wrong with a path gets the same answer. Nothing of the database is held between two pieces: how
slowly a file is read costs a socket. A path says nothing of who has it, so that places are shared
out between addresses, which take turns at what becomes free.

Upholds I23 (one answer for what is not there and what is not allowed), I31 (pieces, and downloads
at the same time, of all and of one address, are bounded).
"""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncGenerator

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import (
    FILE_CACHE_S,
    FILE_DOWNLOAD_WAIT_MS,
    FILE_DOWNLOADS_MAX,
    FILE_DOWNLOADS_PER_ADDRESS_MAX,
    FILE_PIECE_BYTES,
    FILE_READERS_MAX,
    FILE_SEND_BYTES,
)
from holdfast.server.files.links import no_such_file
from holdfast.server.http.contract import ExchangeService
from holdfast.server.http.responses import Streamed
from holdfast.server.identity.rate_limit import address_key
from holdfast.server.process.fair_limiter import FairLimiter
from holdfast.server.store.files import StoredFile, StoredFileGone

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


class Downloads:
    """The downloads of one process."""

    def __init__(
        self,
        service: ExchangeService,
        *,
        downloads_max: int = FILE_DOWNLOADS_MAX,
        per_address: int = FILE_DOWNLOADS_PER_ADDRESS_MAX,
        wait_ms: float = FILE_DOWNLOAD_WAIT_MS,
    ) -> None:
        self._service = service
        self._places = FairLimiter(downloads_max, per_owner=per_address)
        self._wait_s = wait_ms / 1000
        self._limiter = anyio.CapacityLimiter(FILE_READERS_MAX)

    async def answer(self, request: Request) -> Response:
        """To ``GET /v1/files/{id}``. Raises ``ProtocolError``: ``not_found``, ``busy``."""
        file = await self._file(request)
        headers = _headers(file)
        asked = request.headers
        if _matches(asked.get("if-none-match", ""), file):
            return Response(status_code=304, headers=headers)
        start, end, status = 0, file.bytes, 200
        if request.method == "GET" and "range" in asked and _same(asked, file):
            part = _range(asked["range"], file.bytes)
            if part is not None:
                start, end = part
                status = 206
                if start >= end:
                    unsatisfied = {"content-range": f"bytes */{file.bytes}"}
                    return Response(status_code=416, headers=headers | unsatisfied)
                headers["content-range"] = f"bytes {start}-{end - 1}/{file.bytes}"
        headers["content-length"] = str(end - start)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        address = address_key(request.client.host if request.client else "")
        await self._enter(address)
        try:
            first = await self._piece(file, start // FILE_PIECE_BYTES)
        except BaseException:
            self._places.leave(address)
            raise
        body = self._body(file, first, start, end)
        ended = functools.partial(self._places.leave, address)
        return Streamed(body, headers=headers, status=status, on_end=ended)

    async def _enter(self, address: str) -> None:
        with anyio.move_on_after(self._wait_s) as waited:
            await self._places.enter(address)
        if waited.cancelled_caught:
            raise ProtocolError("too many downloads are open", code="busy", status=503)

    async def _file(self, request: Request) -> StoredFile:
        asked = request.query_params
        return await anyio.to_thread.run_sync(
            self._service.file,
            request.path_params["id"],
            asked.get("until", ""),
            asked.get("sign", ""),
            limiter=self._limiter,
        )

    async def _piece(self, file: StoredFile, number: int) -> bytes:
        try:
            return await anyio.to_thread.run_sync(
                self._service.piece, file, number, limiter=self._limiter
            )
        except StoredFileGone:
            raise no_such_file() from None

    async def _body(
        self, file: StoredFile, piece: bytes, start: int, end: int
    ) -> AsyncGenerator[bytes]:
        """The bytes from ``start`` to ``end``; ``piece`` is the one that ``start`` is in."""
        while start < end:
            base = start - start % FILE_PIECE_BYTES
            stop = min(end, base + len(piece), start + FILE_SEND_BYTES)
            yield piece[start - base : stop - base]
            start = stop
            if start < end and start % FILE_PIECE_BYTES == 0:
                piece = await self._piece(file, start // FILE_PIECE_BYTES)


def _headers(file: StoredFile) -> dict[str, str]:
    """``no-transform``: it is compressed already, and its bytes are what is signed for."""
    whose = "public" if file.kind == "snapshot" else "private"
    return {
        "content-type": "application/octet-stream",
        "etag": f'"{file.sha256}"',
        "accept-ranges": "bytes",
        "cache-control": f"{whose}, max-age={FILE_CACHE_S}, immutable, no-transform",
    }


def _matches(given: str, file: StoredFile) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return bool(given) and not tags.isdisjoint({"*", f'"{file.sha256}"'})


def _same(asked: Headers, file: StoredFile) -> bool:
    """Return whether a range goes on with this very file."""
    return asked.get("if-range", f'"{file.sha256}"') == f'"{file.sha256}"'


def _range(text: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of one range, end at most start when there is no such part; None
    for what need not be honoured: several ranges, or what is none."""
    found = _RANGE.match(text.strip().lower())
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
