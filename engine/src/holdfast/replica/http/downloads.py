"""The answer to a request for a file: from which byte it starts, and its pieces.

Knows: HTTP's ranges. Must not know: what is in a file, or where it is kept.
Any proxy or CDN may have answered; so nothing here is a proof. The bytes are judged by their
SHA-256 when all of them are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2

from holdfast.core.errors import FileGone
from holdfast.replica.failures import failure, not_ours
from holdfast.replica.http.bodies import pieces

_PATH = re.compile(r"/v1/files/[A-Za-z0-9_.-]{1,200}(\?[A-Za-z0-9_.=&%-]{0,1000})?")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/[0-9*]{1,18}")
_GONE = frozenset({403, 404, 410, 412, 416})
"""What a server or a cache says of a path that is good no more."""


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """``start``: the byte that ``pieces`` begin with; 0 when the range was not honoured."""

    start: int
    pieces: Iterator[bytes]


def checked_path(path: str) -> str:
    """A path that a server may offer: below ``/v1/files/``, and nowhere else."""
    if _PATH.fullmatch(path) is None:
        raise FileGone("the offered file is not below /v1/files/")
    return path


def range_headers(start: int, sha256: str) -> dict[str, str]:
    """Ask for what is missing, and for all of it when it is another file by now."""
    headers = {"accept-encoding": "identity"}
    if start:
        headers |= {"range": f"bytes={start}-", "if-range": f'"{sha256}"'}
    return headers


def opened(response: httpx2.Response, *, start: int, now_us: int) -> FileAnswer:
    """The file in an answer. Raises ``FileGone``, ``ServerTrouble`` or ``Offline``."""
    status = response.status_code
    if status in _GONE:
        raise FileGone(f"the file is no longer available (status {status})")
    if status not in (200, 206):
        raise failure(
            status,
            body=b"",
            content_type="",
            echoed=False,
            echo="",
            retry_after=response.headers.get("retry-after", ""),
            now_us=now_us,
        )
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise not_ours("a file came in another encoding than was offered")
    begins = 0
    if status == 206:
        found = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        if found is None or int(found[1]) != start:
            raise not_ours("it is not the requested range of the file")
        begins = start
    return FileAnswer(begins, pieces(response))
