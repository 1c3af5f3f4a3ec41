"""Paths of files: signed, good for a short time, and the same for everybody.

Knows: signatures and time. Must not know: what the files are.
A path is all that is needed to fetch a file, so that any proxy may hold it; it has no token in it.
Its time ends at whole steps of the clock: within a step, all devices get the same path.

Upholds I23, I26 as far as a path goes: nobody can make one, and it does not last.
"""

from __future__ import annotations

import hmac

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import FILE_LINK_S
from holdfast.core.values import encode

_US = 1_000_000


def link(secret: bytes, file_id: str, *, now_us: int) -> tuple[str, int]:
    """A path below the server's URL, and until when it is good (microseconds)."""
    until_s = (now_us // _US // FILE_LINK_S + 2) * FILE_LINK_S
    sign = _sign(secret, file_id, until_s)
    return f"/v1/files/{file_id}?until={until_s}&sign={sign}", until_s * _US


def is_good(secret: bytes, file_id: str, until: str, sign: str, *, now_us: int) -> bool:
    """Return whether a path was made here, for this file, and its time is not over."""
    if not (until.isascii() and until.isdigit() and len(until) <= 12 and sign.isascii()):
        return False
    return hmac.compare_digest(_sign(secret, file_id, int(until)), sign) and (
        now_us < int(until) * _US
    )


def no_such_file() -> ProtocolError:
    """The one answer for a path that is unknown, forged or over."""
    return ProtocolError(
        "there is no such file, or its path has expired", code="not_found", status=404
    )


def _sign(secret: bytes, file_id: str, until_s: int) -> str:
    return hmac.new(secret, encode(("file", file_id, until_s)), "blake2s").hexdigest()[:32]
